//! The `Preview` of an update's outcome.

use serde::{Deserialize, Serialize};
use zbus::wire::{Type, Variant};

/// What would come of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum Prospect {
    /// It would go on to download and install; nothing that is known speaks against it.
    Install,
    /// It may fail: something could not be found out, or speaks against it.
    Doubtful,
    /// The server offers nothing, or no offer is known.
    NothingOffered,
    /// It is switched off, or policy or server refuse.
    PutOff,
    /// It would fail.
    Fail,
}

/// What was found of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum CheckResult {
    /// As it must be.
    Ok,
    /// It refuses nothing now, and may make an update fail later.
    Doubtful,
    /// It refuses the update.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct PreflightCheck {
    /// Which.
    pub subject: String,
    /// What was found.
    pub result: CheckResult,
    /// The value, or what is wrong.
    pub found: String,
    /// The number that the server would be told, if it failed.
    pub code: Option<u32>,
}

/// What would come of an attempt that an operator asked for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct Preview {
    /// In a word.
    pub prospect: Prospect,
    /// In a sentence.
    pub summary: String,
    /// The number that the server would be told, if there would be a failure.
    pub code: Option<u32>,
    /// When the server answered: Unix time in seconds.
    pub answered: Option<i64>,
    /// The version offered.
    pub version: Option<String>,
    /// SHA-256 of the payload in hexadecimal digits.
    pub payload_sha256: Option<String>,
    /// Bytes of the payload.
    pub bytes_total: Option<u64>,
    /// The slot that would be written.
    pub slot: Option<String>,
    /// What was looked at; empty where it did not come to that.
    pub checks: Vec<PreflightCheck>,
}
