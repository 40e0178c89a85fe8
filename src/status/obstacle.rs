//! The obstacle: why a node has no update, for programs and in a sentence.

use serde::{Deserialize, Serialize};
use zbus::wire::{Type, Variant};

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
