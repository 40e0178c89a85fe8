//! A slot that nobody can write any more.

use std::path::{Path, PathBuf};

/// A slot made read-only at block level, so that not even mounting it can change it (a read-only ext3 mount
/// replays its journal). Undone on drop.
#[derive(Debug)]
pub struct Sealed {
    device: PathBuf,
}

impl Sealed {
    /// Device node to mount: the partition itself, or a read-only loop device over an image.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }
}
