//! The `Preview` of an update's outcome.

use serde::{Deserialize, Serialize};
use zbus::wire::{Type, Variant};

/// The likely outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum Prospect {
    /// The attempt would download and install: nothing that is known speaks against it.
    Install,
    /// The attempt may fail: something could not be found out, or speaks against it.
    Doubtful,
    /// The server offers nothing, or no offer is known.
    NothingOffered,
    /// Updates are switched off, or policy or the server refuses.
    PutOff,
    /// The attempt would fail.
    Fail,
}

/// The result of one preflight check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum CheckResult {
    /// Nothing is wrong.
    Ok,
    /// It refuses nothing now, and may make an update fail later.
    Doubtful,
    /// It refuses the update.
    Failed,
}

/// One preflight check and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct PreflightCheck {
    /// The subject of the check, such as `slot` or `payload`.
    pub subject: String,
    /// The check's result.
    pub result: CheckResult,
    /// The value found, or what is wrong with it.
    pub found: String,
    /// The number that the server would be told, if it failed.
    pub code: Option<u32>,
}

/// The preview of an attempt that an operator would ask for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct Preview {
    /// The likely outcome.
    pub prospect: Prospect,
    /// The likely outcome in a sentence.
    pub summary: String,
    /// The number that the server would be told, if there would be a failure.
    pub code: Option<u32>,
    /// When the server answered: Unix time in seconds.
    pub answered: Option<i64>,
    /// The offered version.
    pub version: Option<String>,
    /// SHA-256 of the payload: 64 lower-case hexadecimal digits.
    pub payload_sha256: Option<String>,
    /// Size of the payload in bytes.
    pub bytes_total: Option<u64>,
    /// The slot that would be written.
    pub slot: Option<String>,
    /// The preflight checks; empty where none were run.
    pub checks: Vec<PreflightCheck>,
}
