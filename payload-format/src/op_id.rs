//! Numbers of operations.

use std::fmt;

/// An operation's place in the payload: partition operations first, then those of each procedure in
/// the manifest's order. Their data lies in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(u32);

impl OpId {
    /// The first operation.
    pub const FIRST: Self = Self(0);

    /// From a position in [`crate::Manifest::operations`].
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Position in [`crate::Manifest::operations`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// As a number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The operation after this one; the last possible one is its own successor.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
