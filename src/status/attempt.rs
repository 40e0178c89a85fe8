//! The record of one attempt at an update. Times are Unix times in seconds.

use serde::{Deserialize, Serialize};
use zbus::wire::{Type, Variant};

/// Who asked for a check, and for the attempt that comes of it. Operators' checks say `ondemandupdate` to the server, which
/// then skips its own limits of rate, and may bring a payload that was rolled back from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum Trigger {
    /// The schedule.
    #[default]
    Schedule,
    /// An operator or a program, through the bus.
    Operator,
}

/// The state of an attempt: under way, or what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum AttemptState {
    /// The payload is fetched, written, verified.
    UnderWay,
    /// It ended with an error.
    Failed,
    /// The daemon or the machine went down amid it.
    Interrupted,
    /// Installed: the slot boots next.
    Waiting,
    /// The slot was not booted, and doesn't boot next any more.
    Withdrawn,
    /// The slot runs and is not marked good yet.
    OnTrial,
    /// The slot ran and was found good.
    Kept,
    /// The node went back to the slot before.
    RolledBack,
    /// What another version of the engine has written.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One attempt to install what the server offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct AttemptReport {
    /// When the offer was taken.
    pub began: i64,
    /// When the slot was installed, or it was given up; not known of one that was cut.
    pub ended: Option<i64>,
    /// The version that ran.
    pub from: String,
    /// The version offered.
    pub to: String,
    /// The slot written: `USR-A` or `USR-B`.
    pub slot: String,
    /// SHA-256 of the payload in hexadecimal digits.
    pub payload_sha256: String,
    /// Bytes of the payload.
    pub bytes_total: u64,
    /// Bytes of the payload that an earlier attempt had brought; this one goes on from there.
    pub bytes_resumed: u64,
    /// Bytes of the payload that came in this attempt.
    pub bytes_fetched: u64,
    /// How long fetching and writing took.
    pub download_seconds: u64,
    /// How long verification, postinst and commit took.
    pub finish_seconds: u64,
    /// Who wanted it.
    pub asked_by: Trigger,
    /// What became of it.
    pub outcome: AttemptState,
    /// The number that the server was told, without flags.
    pub code: Option<u32>,
    /// Why; not there if there is nothing to say.
    pub reason: Option<String>,
    /// How often it ended in this way one time after the other before anything was fetched; the times are the last
    /// one's.
    pub times: u32,
}
