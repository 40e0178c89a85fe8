//! The `Overview`: all properties of `org.updateengine.Engine1`, as the engine publishes them; with
//! the obstacle, which says why a node has no update.
//!
//! On the bus each record is an `a{sv}` whose keys are the fields' names; a field that is not known
//! is not there, and a record that does not apply ([`Maybe`]) is empty. Readers skip keys that they
//! don't know, so that later engines can say more under the same version. As JSON they are objects,
//! or `null`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use zbus::wire::{Signature, Type, Variant};

use super::Transfer;

/// The state of the engine and of its node at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict", rename_all = "PascalCase")]
pub struct Overview {
    /// The engine's state.
    pub state: EngineState,
    /// The state in a sentence, for people.
    pub summary: String,
    /// The version that runs; empty if the image doesn't say.
    pub running_version: String,
    /// The version that is installed and waits for the reboot, or is being installed; empty if none
    /// or unknown.
    pub waiting_version: String,
    /// The download's progress while there is one.
    pub progress: Maybe<Transfer>,
    /// The two slots, A first; none if the disk can't be read.
    pub slots: Vec<SlotReport>,
    /// The reason for which the running slot is not marked good yet; empty if it is.
    pub trial: String,
    /// The last check since the daemon's start.
    pub last_check: Maybe<LastCheck>,
    /// The next scheduled check.
    pub next_check: Maybe<NextCheck>,
    /// The reason for which the last check led to no update.
    pub no_update: Maybe<NoUpdate>,
    /// The last failure since the daemon's start; a new attempt clears it.
    pub last_failure: Maybe<FailureReport>,
    /// The last rollback that is remembered.
    pub rollback: Maybe<RollbackReport>,
    /// Risks to a later boot, each in a sentence; none from an earlier engine.
    pub boot_warnings: Option<Vec<String>>,
    /// Extensions that the update that waits will not merge, each in a sentence; none from an
    /// earlier engine.
    pub extension_warnings: Option<Vec<String>>,
    /// Oddities of the configuration, each in a sentence; none from an earlier engine.
    pub config_warnings: Option<Vec<String>>,
    /// What is worse in the running slot than before its update, each in a sentence; none from an
    /// earlier engine.
    pub health_warnings: Option<Vec<String>>,
    /// Seconds within which a slot on trial must be found healthy; 0 if no deadline ends its trial. None from an
    /// earlier engine. This is the health deadline (`HEALTH_DEADLINE`), not the trial deadline (`TRIAL_DEADLINE`): the
    /// property had this name before there was a trial deadline.
    pub trial_deadline: Option<u64>,
    /// Number of updates that this machine has installed so far; none from an earlier engine.
    pub installed_updates: Option<u64>,
}

/// The engine's state in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum EngineState {
    /// Nothing is under way.
    #[default]
    Idle,
    /// The server is being asked.
    Checking,
    /// An offer was taken; nothing is written yet.
    Preparing,
    /// The payload is fetched and written to the other slot.
    Downloading,
    /// The other slot is verified, its postinst run, the slot made the next to boot.
    Finishing,
    /// The other slot holds a staged update, which an order makes the next to boot.
    Staged,
    /// The other slot holds a staged update, which an orderly reboot makes the next to boot.
    StagedForReboot,
    /// The staged update is made the next to boot.
    Activating,
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

/// A slot's attributes and contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct SlotReport {
    /// `USR-A` or `USR-B`.
    pub name: String,
    /// The partition's PARTUUID, lower case.
    pub partuuid: String,
    /// The version in the slot, if this engine knows it.
    pub version: Option<String>,
    /// Priority, 0 to 15: the loader takes the highest, and never 0.
    pub priority: u32,
    /// Boots left before the slot must be marked good, 0 to 15.
    pub tries: u32,
    /// Whether the slot is marked good.
    pub successful: bool,
    /// Whether the system runs from this slot.
    pub running: bool,
}

/// The last check: its time and outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct LastCheck {
    /// Unix time in seconds at which the check ended.
    pub time: i64,
    /// The outcome in a sentence.
    pub outcome: String,
}

/// The next scheduled check: its time and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct NextCheck {
    /// Unix time in seconds; none if no check will come.
    pub time: Option<i64>,
    /// The reason for the time, or for there being none, in a sentence.
    pub why: String,
}

/// The failure of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct FailureReport {
    /// The number that the server was told, without flags.
    pub code: u32,
    /// The failure in a sentence.
    pub sentence: String,
    /// The chain of causes, the nearest first.
    pub causes: Vec<String>,
}

/// A rollback: the version that was left, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct RollbackReport {
    /// The version that was left.
    pub version: String,
    /// SHA-256 of its payload in hexadecimal digits, if this engine installed it.
    pub payload_sha256: Option<String>,
    /// Unix time in seconds at which the daemon noticed.
    pub noticed: i64,
    /// The unit and its state, the check and its exit, or that the slot did not come up.
    pub cause: String,
}

/// The kind of reason for which a node has no update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum Obstacle {
    /// The server has no update for this node.
    NoneOffered,
    /// The payload failed before; it is tried again later.
    Backoff,
    /// Configuration switches updates off.
    Disabled,
    /// The node rolled back from this payload.
    RolledBack,
    /// The running slot is not marked good yet.
    OnTrial,
    /// The server refused the request.
    Refused,
    /// The check or the attempt failed.
    Failed,
}

/// The reason for which the last check led to no update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct NoUpdate {
    /// The kind of reason, for programs.
    pub kind: Obstacle,
    /// The reason in a sentence, for people; it quotes the server verbatim.
    pub reason: String,
    /// Unix time in seconds at which the obstacle ends, if that is known.
    pub until: Option<i64>,
}

/// An optional record. On the bus `None` is an empty `a{sv}`, since D-Bus has no null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Maybe<T>(pub Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> From<Option<T>> for Maybe<T> {
    fn from(record: Option<T>) -> Self {
        Self(record)
    }
}

impl<T: Type> Type for Maybe<T> {
    const SIGNATURE: &'static Signature = <HashMap<String, Variant<'static>> as Type>::SIGNATURE;
}

impl<'v, T: Into<Variant<'v>>> From<Maybe<T>> for Variant<'v> {
    fn from(Maybe(record): Maybe<T>) -> Self {
        match record {
            Some(record) => record.into(),
            None => HashMap::<String, Variant<'v>>::new().into(),
        }
    }
}

impl<'v, T: TryFrom<Variant<'v>, Error = zbus::Error>> TryFrom<Variant<'v>> for Maybe<T> {
    type Error = zbus::Error;

    fn try_from(value: Variant<'v>) -> zbus::Result<Self> {
        match &value {
            Variant::Dict(dict) if dict.iter().next().is_none() => Ok(Self(None)),
            _ => T::try_from(value).map(|record| Self(Some(record))),
        }
    }
}
