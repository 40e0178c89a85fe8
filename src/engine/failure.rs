//! The failures that people read of: that of a check or an attempt, with its code for the server, and
//! that of a request about the slots.

use std::error::Error;

use super::Reportable;
use crate::health::Cause;
use crate::journal::{causes, chain};
use crate::omaha::ErrorCode;
use crate::status::Obstacle;

/// The end of an attempt that was not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For the server, without the flags that tell about this node.
    pub code: ErrorCode,
    /// The failure in one sentence, for people.
    pub sentence: String,
    /// Because of what, and because of what that.
    pub causes: Vec<String>,
    /// What kind of reason this is for having no update.
    pub obstacle: Obstacle,
    /// Until when it stands in the way, in Unix time, if that is known.
    pub until: Option<i64>,
}

impl Failure {
    /// A failure with a sentence of our own.
    pub fn new(code: ErrorCode, sentence: impl Into<String>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
            causes: Vec::new(),
            obstacle: Obstacle::Failed,
            until: None,
        }
    }

    /// A failure caused by `error`, whose sources become the causes.
    #[must_use]
    pub fn caused_by(code: ErrorCode, error: &dyn Error) -> Self {
        Self {
            causes: causes(error).collect(),
            ..Self::new(code, error.to_string())
        }
    }

    /// The same as a reason of another kind.
    #[must_use]
    pub fn of_kind(mut self, obstacle: Obstacle) -> Self {
        self.obstacle = obstacle;
        self
    }

    /// Everything in one line, for the journal.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut parts = vec![self.sentence.as_str()];
        parts.extend(self.causes.iter().map(String::as_str));
        parts.join(": ")
    }
}

impl<E: Reportable> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::caused_by(error.code(), &error).of_kind(error.obstacle())
    }
}

/// Why something that was wanted of the slots was not done. Its text says all of it, causes
/// included.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// The running slot is on trial, and not healthy or not yet; and why.
    #[error("{0}")]
    OnTrial(String),
    /// The running slot has lost what the version before had: it is to be left for the other one.
    #[error("{}", .0.summary())]
    Lost(Cause),
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
