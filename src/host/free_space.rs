//! Free space on file systems.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Bytes that are free for us where `path` lies, which must exist.
///
/// # Errors
/// When the file system can't be asked.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let room = statvfs(path)?;
    Ok(room.blocks_available().saturating_mul(room.fragment_size()))
}
