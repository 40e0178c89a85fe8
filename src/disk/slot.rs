//! The two slots' names.

use std::fmt;
use std::ops::Not;

/// One of the two slots. `!slot` is the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SlotName {
    /// USR-A.
    A,
    /// USR-B.
    B,
}

impl SlotName {
    /// Lower-case letter, as in `vmlinuz-a`.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }
}

impl Not for SlotName {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "USR-A",
            Self::B => "USR-B",
        })
    }
}
