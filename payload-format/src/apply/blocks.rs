//! The `ReadBlocks` and `WriteBlocks` traits: an image in a device, a file or memory.

use std::io;

/// Reads an image at byte offsets from its start. Positioned and shared, so that operations run
/// side by side.
pub trait ReadBlocks: Send + Sync {
    /// Fills `buf` from `offset`. Never asked for bytes past the image that the manifest names.
    ///
    /// # Errors
    /// Any I/O error; `UnexpectedEof` past the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Writes an image, and reads back what it wrote.
pub trait WriteBlocks: ReadBlocks {
    /// Writes all of `buf` at `offset`. Never asked to write past the slot, or past the file's
    /// limit.
    ///
    /// # Errors
    /// Any I/O error.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
}
