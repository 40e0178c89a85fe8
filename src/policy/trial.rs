//! A slot's trial: what is tried, how far it came, and what came of it if it failed.

use serde::{Deserialize, Serialize};

use super::UnixTime;

/// What a slot was filled from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// SHA-256 of the payload; none if somebody else put the slot on trial.
    pub sha256: Option<[u8; 32]>,
    /// Its version, for display.
    pub version: String,
}

/// How far a trial came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// The slot boots next; it was not seen running.
    Committed,
    /// The daemon has run in it.
    CameUp,
    /// The machine was shut down in an orderly way before the slot's health was known.
    Orderly,
    /// Its health was not established in time.
    GivenUp(Why),
}

/// Why a slot was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// What did not hold.
    pub cause: String,
    /// What the unit or the check said, if anything.
    pub said: String,
}

/// A slot on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The slot's PARTUUID.
    pub partuuid: String,
    /// What it holds.
    pub payload: Payload,
    /// How far it came.
    pub progress: Progress,
}

/// A trial that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// What was left.
    pub payload: Payload,
    /// Why.
    pub cause: String,
    /// What the unit or the check behind it said, if anything.
    pub said: String,
    /// When it was noticed.
    pub noticed: UnixTime,
}
