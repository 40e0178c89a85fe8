//! The obstacle: why a node has no update, for programs and in a sentence.

use serde::{Deserialize, Serialize};
use zbus::wire::{Type, Variant};

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
