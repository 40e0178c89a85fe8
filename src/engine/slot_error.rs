//! The error of what is wanted of the slots: to mark one good, to go back to one, to withdraw one.

use std::error::Error;

use crate::journal::chain;

/// Why something that was wanted of the slots was not done. Its text says all of it, causes
/// included.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// The running slot is on trial, and not healthy or not yet; and why.
    #[error("{0}")]
    OnTrial(String),
    /// The other slot can't take over, and why: it was never good, or has no kernel.
    #[error("{0}")]
    Unfit(String),
    /// Slots or records can't be read or written.
    #[error("{0}")]
    Io(String),
}

impl SlotError {
    /// Reading or writing has failed with `error`.
    pub(super) fn io(error: &dyn Error) -> Self {
        Self::Io(chain(error))
    }
}
