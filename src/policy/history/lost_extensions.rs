//! The extensions that the node has and that the image of an update will not merge.

use payload_format::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::History;
use crate::store::tolerant;

/// Sentences that are kept at most.
const MOST: usize = 64;

/// What a payload takes from the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LostExtensions {
    /// SHA-256 of the payload: an earlier version, in the other slot, leaves this alone when it
    /// installs another one.
    payload: Sha256Digest,
    /// Each with its reason, in a sentence.
    #[serde(default, deserialize_with = "tolerant::known")]
    extensions: Vec<String>,
}

impl History {
    /// Remembers what the payload that was committed last takes from the node; each in a sentence.
    pub fn loses(&mut self, mut extensions: Vec<String>) {
        extensions.truncate(MOST);
        let payload = self.trial().and_then(|trial| trial.payload.sha256);
        self.lost_extensions = payload
            .filter(|_| !extensions.is_empty())
            .map(|payload| LostExtensions { payload, extensions });
    }

    /// The extensions that are lost with the update that boots next for the first time, each in a
    /// sentence; none if nothing waits.
    #[must_use]
    pub fn lost_with_waiting(&self) -> &[String] {
        let waiting = self.waiting().and_then(|payload| payload.sha256);
        match &self.lost_extensions {
            Some(lost) if waiting == Some(lost.payload) => &lost.extensions,
            _ => &[],
        }
    }
}
