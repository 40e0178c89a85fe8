//! The two copies of the table.

use core::fmt;

/// One of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichCopy {
    /// At the start of the disk.
    Primary,
    /// At its end.
    Backup,
}

impl fmt::Display for WhichCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
        })
    }
}
