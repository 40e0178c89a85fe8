//! A slot's trial: its payload, its progress, and the cause if it failed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::status::UnixTime;
use crate::store::tolerant;

/// What a slot was filled from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotPayload {
    /// SHA-256 of the payload; none if somebody else put the slot on trial.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub sha256: Option<[u8; 32]>,
    /// Its version, for display.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub version: String,
}

/// How far a trial came.
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
    /// What another version has written. If the slot is left, that counts as a cause.
    #[serde(untagged)]
    Unknown(Value),
}

/// Why a slot was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackCause {
    /// What did not hold.
    #[serde(default = "tolerant::unknown_cause", deserialize_with = "tolerant::cause")]
    pub cause: String,
    /// What the unit or the check said, if anything.
    #[serde(rename = "said", default, deserialize_with = "tolerant::text")]
    pub output: String,
}

impl RollbackCause {
    /// What `value`, the progress of a trial in another version's words, says about it.
    pub(super) fn of_unknown(value: &Value) -> Self {
        let mut parts = value.as_object().into_iter().flat_map(|object| object.values());
        let told = parts.find(|part| part.get("cause").is_some());
        let told = told.and_then(|part| Self::deserialize(part).ok());
        told.unwrap_or_else(|| Self {
            cause: tolerant::unknown_cause(),
            output: String::new(),
        })
    }
}

/// A slot on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The slot's PARTUUID.
    pub partuuid: String,
    /// What it holds.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub payload: SlotPayload,
    /// How far it came.
    pub progress: TrialProgress,
}

/// A trial that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// What was left.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub payload: SlotPayload,
    /// Why.
    #[serde(default = "tolerant::unknown_cause", deserialize_with = "tolerant::cause")]
    pub cause: String,
    /// What the unit or the check behind it said, if anything.
    #[serde(rename = "said", default, deserialize_with = "tolerant::text")]
    pub output: String,
    /// When it was noticed.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub noticed: UnixTime,
}
