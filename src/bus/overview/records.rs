//! The records of an [`Overview`](super::Overview). Times are Unix times in seconds.

use serde::{Deserialize, Serialize};
use zbus::wire::{Type, Variant};

/// What is being done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum EngineState {
    /// Nothing.
    #[default]
    Idle,
    /// The server is being asked.
    Checking,
    /// An offer was taken; nothing is written yet.
    Preparing,
    /// The payload comes and is written to the other slot.
    Downloading,
    /// The other slot is verified, its postinst run, the slot made the next to boot.
    Finishing,
    /// The other slot boots next, with an update.
    RebootNeeded,
    /// The other slot boots next, with what ran before.
    RollbackNeeded,
    /// The other slot is being made the next to boot, as it is.
    RollingBack,
    /// The other slot, which waited for the reboot, is made unbootable.
    Withdrawing,
    /// The server is being told of a failure.
    Reporting,
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct Transfer {
    /// Bytes of the payload that are there, those of an earlier attempt among them.
    pub bytes_done: u64,
    /// Bytes of the whole payload.
    pub bytes_total: u64,
    /// Over the last seconds; not there until it can be told.
    pub bytes_per_second: Option<u64>,
    /// Seconds to the end of the download at this rate.
    pub eta_seconds: Option<u64>,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct SlotReport {
    /// `USR-A` or `USR-B`.
    pub name: String,
    /// Of its partition, lower case.
    pub partuuid: String,
    /// What it holds, if this engine knows.
    pub version: Option<String>,
    /// 0 to 15; the loader takes the highest. 0 is never taken.
    pub priority: u32,
    /// Boots that are left to it before it must have been marked good, 0 to 15.
    pub tries: u32,
    /// Whether it was marked good.
    pub successful: bool,
    /// Whether the system runs from it.
    pub running: bool,
}

/// How the last check went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct LastCheck {
    /// When it ended.
    pub time: i64,
    /// In words.
    pub outcome: String,
}

/// When the next check comes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct NextCheck {
    /// Not there if none will come.
    pub time: Option<i64>,
    /// Why then, or why never.
    pub why: String,
}

/// The kind of reason why there is no update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum Obstacle {
    /// The server has none for this node.
    NoneOffered,
    /// The payload failed before; it is tried again later.
    Backoff,
    /// Configuration switches updates off.
    Disabled,
    /// The node rolled back from this payload.
    RolledBack,
    /// The running slot is not marked good yet.
    OnTrial,
    /// The server refused.
    Refused,
    /// The check, or what followed, failed.
    Failed,
}

/// Why there is no update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct NoUpdate {
    /// For programs.
    pub kind: Obstacle,
    /// For people; what the server said stands in it verbatim.
    pub reason: String,
    /// Until when, if that is known.
    pub until: Option<i64>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct FailureReport {
    /// The number that the server was told, without flags.
    pub code: u32,
    /// What went wrong.
    pub sentence: String,
    /// Because of what, and because of what that.
    pub causes: Vec<String>,
}

/// A version that was left again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct RollbackReport {
    /// The version that was left.
    pub version: String,
    /// SHA-256 of its payload in hexadecimal digits, if this engine installed it.
    pub payload_sha256: Option<String>,
    /// When the daemon noticed.
    pub noticed: i64,
    /// The unit and its state, the check and its end, or that the slot did not come up.
    pub cause: String,
}
