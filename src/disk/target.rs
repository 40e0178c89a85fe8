//! The `BlockTarget` trait: positioned reads and writes of a slot.

use std::io;

/// A slot's bytes: a partition's device node, or a window into a disk image. Offsets are in bytes
/// from the start of the slot. Positioned, so that workers on several threads share one target.
#[allow(clippy::len_without_is_empty)]
pub trait BlockTarget: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// Any I/O error; `UnexpectedEof` past the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at `offset`. Not durable before [`Self::sync`].
    ///
    /// # Errors
    /// Any I/O error; a write past the end is refused whole.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once everything written so far is on the medium.
    ///
    /// # Errors
    /// Any I/O error; after one, nothing written since the last success may be trusted.
    fn sync(&self) -> io::Result<()>;

    /// Starts writing back and drops `offset..offset + len` from the page cache, so that the next
    /// read comes from the medium. A hint that never fails; call after [`Self::sync`] for it to be
    /// sure. The cache keeps pieces of its own, of up to some MiB, that the range holds only in
    /// part.
    fn forget(&self, offset: u64, len: u64);
}
