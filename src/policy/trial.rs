//! A slot's trial: its payload, its progress, its outcome, and the cause if it failed.

use payload_format::Sha256Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::status::UnixTime;
use crate::store::tolerant;

/// The payload that a slot was filled from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotPayload {
    /// SHA-256 of the payload; none if another program put the slot on trial.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub sha256: Option<Sha256Digest>,
    /// Its version, for display.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub version: String,
}

/// The progress of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrialProgress {
    /// The slot boots next; it was not seen running.
    Committed,
    /// The daemon has run in it.
    CameUp,
    /// The machine was shut down in an orderly way before the slot's health was known.
    Orderly,
    /// Its health was not established in time.
    GivenUp(RollbackCause),
    /// A state that another version has written. If the slot is left, it counts as a cause.
    #[serde(untagged)]
    Unknown(Value),
}

/// The cause for which a slot was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackCause {
    /// The requirement that was not met, in a sentence.
    #[serde(default = "tolerant::unknown_cause", deserialize_with = "tolerant::cause")]
    pub cause: String,
    /// The last lines of the unit or the check; may be empty.
    #[serde(rename = "said", default, deserialize_with = "tolerant::text")]
    pub output: String,
    /// Whether it is a regression, which nobody has configured to be a requirement. Versions that
    /// don't know this field blame it as any other cause.
    #[serde(
        default,
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_regression: bool,
}

impl RollbackCause {
    /// The cause in `value`, the progress of a trial as another version has written it.
    pub(super) fn of_unknown(value: &Value) -> Self {
        let mut parts = value.as_object().into_iter().flat_map(|object| object.values());
        let told = parts.find(|part| part.get("cause").is_some());
        let told = told.and_then(|part| Self::deserialize(part).ok());
        told.unwrap_or_else(|| Self {
            cause: tolerant::unknown_cause(),
            output: String::new(),
            is_regression: false,
        })
    }
}

/// A slot on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The slot's PARTUUID.
    pub partuuid: String,
    /// The payload in the slot.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub payload: SlotPayload,
    /// The trial's progress.
    pub progress: TrialProgress,
}

/// A trial that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The payload that was left.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub payload: SlotPayload,
    /// The cause for which it was left, in a sentence.
    #[serde(default = "tolerant::unknown_cause", deserialize_with = "tolerant::cause")]
    pub cause: String,
    /// The last lines of the unit or the check; may be empty.
    #[serde(rename = "said", default, deserialize_with = "tolerant::text")]
    pub output: String,
    /// Unix time at which the daemon noticed.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub noticed: UnixTime,
}

/// The outcome of a look at the slots after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialOutcome {
    /// No trial, or one that is still to come.
    Nothing,
    /// The slot on trial runs.
    OnTrial,
    /// The slot on trial runs and is good: the trial is over.
    Kept,
    /// The trial failed: the node is back in the slot before.
    RolledBack(Rollback),
    /// The node is back in the slot before, although nothing speaks against the payload.
    Interrupted(SlotPayload),
}
