//! Free space on file systems.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Free bytes on the file system of `path`, which must exist.
///
/// # Errors
/// If `statvfs` fails.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let room = statvfs(path)?;
    Ok(room.blocks_available().saturating_mul(room.fragment_size()))
}
