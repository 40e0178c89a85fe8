//! Letter of a slot: A or B.

use alloc::format;
use alloc::string::String;
use core::fmt;

use slots::{Guid, Partition};

/// Directories of the EFI system partition that may hold kernels, in the order in which they are
/// searched: the two to which the daemon writes, the one that it prefers first; then the root,
/// where a builder may put the first kernels.
const DIRECTORIES: [&str; 3] = ["\\coreos\\", "\\flatcar\\", "\\"];

/// Letter of a slot, as in its kernel's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letter {
    /// USR-A, `vmlinuz-a`.
    A,
    /// USR-B, `vmlinuz-b`.
    B,
}

impl Letter {
    /// By PARTLABEL or well-known PARTUUID, as the daemon tells the slots apart; `None` if the
    /// partition is neither slot, or claims to be both.
    #[must_use]
    pub fn of(partition: &Partition) -> Option<Self> {
        let is = |label, guid| partition.label == label || partition.guid == guid;
        match (is("USR-A", Guid::FLATCAR_USR_A), is("USR-B", Guid::FLATCAR_USR_B)) {
            (true, false) => Some(Self::A),
            (false, true) => Some(Self::B),
            _ => None,
        }
    }

    /// The other slot.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The letter in lower case, as in file names.
    #[must_use]
    pub const fn lower(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }

    /// Paths of the slot's kernel on the EFI system partition; the first that exists counts.
    pub fn kernels(self) -> impl Iterator<Item = String> {
        DIRECTORIES
            .into_iter()
            .map(move |directory| format!("{directory}vmlinuz-{}", self.lower()))
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "USR-A",
            Self::B => "USR-B",
        })
    }
}
