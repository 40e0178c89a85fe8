//! What can go wrong with disk and slots.

use std::path::PathBuf;

use super::SlotName;

/// Why the disk or one of its slots can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A path that should be there isn't.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// The disk has no such slot.
    #[error("the disk has no slot {0}")]
    Unknown(SlotName),
}
