//! One result of the checks before an installation, as operators see it.

use super::InstallError;

/// The look at the payload's beginning.
pub const PAYLOAD_LOOK: &str = "payload";
/// The look at the node's merged extensions, for the image in the payload.
pub const EXTENSION_LOOK: &str = "merged extensions";
/// The look at the slot to write.
pub const SLOT_LOOK: &str = "other slot";

/// One thing that was looked at.
#[derive(Debug)]
pub struct PreflightResult {
    /// The subject of the check, such as `slot` or `payload`.
    pub subject: String,
    /// The verdict, with what was found.
    pub verdict: PreflightVerdict,
}

/// What was found of one thing.
#[derive(Debug)]
pub enum PreflightVerdict {
    /// It is as it must be, and how it is.
    Fine(String),
    /// It refuses no update here, and may make one fail later; and why.
    Doubtful(String),
    /// It is as much in doubt without an update, which makes it neither better nor worse; and why.
    Standing(String),
    /// It refuses payloads that bring something for it, and no others.
    Missing(InstallError),
    /// It refuses the update.
    Refused(InstallError),
}

impl PreflightResult {
    pub(super) fn new(subject: impl Into<String>, verdict: PreflightVerdict) -> Self {
        let subject = subject.into();
        Self { subject, verdict }
    }
}
