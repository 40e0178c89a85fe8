//! Counters of checks and updates, kept across restarts, reboots and updates.

use serde::{Deserialize, Serialize};

use super::UnixTime;
use crate::store::tolerant;

/// How a check ended, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckEnd {
    /// The server has nothing for this node.
    NoUpdate,
    /// An offer was taken.
    Taken,
    /// An offer was not taken now, or updates are switched off.
    Deferred,
    /// No answer, a wrong one, or a refusal.
    Failed,
}

/// Checks by their end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checks {
    /// That brought none.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub no_update: u64,
    /// That brought an offer which was taken.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub taken: u64,
    /// That brought nothing which may be installed now.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub deferred: u64,
    /// That failed.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub failed: u64,
}

/// Counters, which only grow, and what came last. Its JSON form is meant for a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Checks.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub checks: Checks,
    /// When a check last ended with a usable answer.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub last_answer: Option<UnixTime>,
    /// Updates that were installed and made the next to boot.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub installed: u64,
    /// When that last happened.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub last_installed: Option<UnixTime>,
    /// Attempts and checks that failed, but for those that were only put off.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub failures: u64,
    /// Code and time of the last one.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub last_failure: Option<(u32, UnixTime)>,
    /// Times that this machine came back to the version before.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub rollbacks: u64,
    /// When that was last noticed.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub last_rollback: Option<UnixTime>,
    /// Bytes of payloads that were downloaded.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub downloaded_bytes: u64,
    /// How long the last download took that came to its end, in milliseconds; of one that was resumed the last
    /// part.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub download_millis: Option<u64>,
    /// How long it took to verify the last update, run its postinst and make it the next to boot, in milliseconds.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub finish_millis: Option<u64>,
}

impl Tally {
    /// A check ended.
    pub fn checked(&mut self, end: CheckEnd, now: UnixTime) {
        let count = match end {
            CheckEnd::NoUpdate => &mut self.checks.no_update,
            CheckEnd::Taken => &mut self.checks.taken,
            CheckEnd::Deferred => &mut self.checks.deferred,
            CheckEnd::Failed => &mut self.checks.failed,
        };
        *count = count.saturating_add(1);
        if end != CheckEnd::Failed {
            self.last_answer = Some(now);
        }
    }

    /// So many bytes came; and how long that took, if the payload is there now.
    pub fn downloaded(&mut self, bytes: u64, whole_after: Option<u64>) {
        self.downloaded_bytes = self.downloaded_bytes.saturating_add(bytes);
        self.download_millis = whole_after.or(self.download_millis);
    }

    /// The other slot boots next, so many milliseconds after its last byte had come.
    pub fn installed(&mut self, after: u64, now: UnixTime) {
        self.installed = self.installed.saturating_add(1);
        self.last_installed = Some(now);
        self.finish_millis = Some(after);
    }

    /// Something failed, with this code.
    pub fn failed(&mut self, code: u32, now: UnixTime) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some((code, now));
    }

    /// The machine is back in the slot that it was updated from.
    pub fn rolled_back(&mut self, now: UnixTime) {
        self.rollbacks = self.rollbacks.saturating_add(1);
        self.last_rollback = Some(now);
    }
}
