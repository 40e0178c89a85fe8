//! Why an attempt failed: the code for the server and the sentence for people.

use std::error::Error;
use std::fmt::Write as _;

use crate::omaha::ErrorCode;

/// The end of an attempt that was not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For the server, without the flags that tell about this node.
    pub code: ErrorCode,
    /// For journal and status: the error and its sources.
    pub reason: String,
}

impl Failure {
    /// A failure with a sentence of our own.
    pub fn new(code: ErrorCode, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    /// A failure caused by `error`, whose chain of sources becomes the reason.
    #[must_use]
    pub fn caused_by(code: ErrorCode, error: &dyn Error) -> Self {
        Self::new(code, chain(error))
    }
}

/// `error` and its sources in one line. The only place that prints chains.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
