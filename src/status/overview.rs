//! The `Overview`: all properties of `org.updateengine.Engine1`, as the engine publishes them.
//!
//! On the bus each record is an `a{sv}` whose keys are the fields' names; a field that is not known is not
//! there, and a record that does not apply is empty. Readers skip keys that they don't know, so that later
//! engines can say more under the same version. As JSON they are objects, or `null`.

use serde::{Deserialize, Serialize};
use zbus::wire::{Type, Variant};

use super::{Maybe, NoUpdate, Transfer};

/// The state of the engine and of its node at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict", rename_all = "PascalCase")]
pub struct Overview {
    /// What is being done, in a word.
    pub state: EngineState,
    /// The same in a sentence for people.
    pub summary: String,
    /// The version that runs; empty if the image doesn't say.
    pub running_version: String,
    /// The version that is installed and waits for the reboot, or is being installed; empty if none or unknown.
    pub waiting_version: String,
    /// How far the download is.
    pub progress: Maybe<Transfer>,
    /// The two slots, A first; none if the disk can't be read.
    pub slots: Vec<SlotReport>,
    /// Why the running slot is not marked good yet; empty if it is.
    pub trial: String,
    /// The last check since the daemon's start.
    pub last_check: Maybe<LastCheck>,
    /// The check that comes by itself.
    pub next_check: Maybe<NextCheck>,
    /// Why the last check brought no update.
    pub no_update: Maybe<NoUpdate>,
    /// The last failure since the daemon's start; a new attempt clears it.
    pub last_failure: Maybe<FailureReport>,
    /// The last rollback that is remembered.
    pub rollback: Maybe<RollbackReport>,
    /// What could keep the node from booting one day, each in a sentence; an earlier engine doesn't say.
    pub boot_warnings: Option<Vec<String>>,
    /// What is odd about the configuration, each in a sentence; an earlier engine doesn't say.
    pub config_warnings: Option<Vec<String>>,
}

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
