//! Counters of checks and updates, kept across restarts, reboots and updates.

use serde::{Deserialize, Serialize};

use super::UnixTime;
use crate::store::tolerant;

/// The outcome of a check as it is counted.
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

/// Numbers of checks by their outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checks {
    /// Checks that brought no update.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub no_update: u64,
    /// Checks whose offer was taken.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub taken: u64,
    /// Checks whose offer was put off, or that came while updates were switched off.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub deferred: u64,
    /// Checks that failed.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub failed: u64,
}

/// Counters, which only grow, and what came last. Its JSON form is meant for a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Checks by their outcome.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub checks: Checks,
    /// When a check last ended with a usable answer.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub last_answer: Option<UnixTime>,
    /// Updates that were staged.
    #[serde(deserialize_with = "tolerant::or_default", skip_serializing_if = "is_zero")]
    pub staged: u64,
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
    /// Images that were made of a content package.
    #[serde(deserialize_with = "tolerant::or_default", skip_serializing_if = "is_zero")]
    pub content_images: u64,
    /// Content packages that were given up, the payload fetched instead.
    #[serde(deserialize_with = "tolerant::or_default", skip_serializing_if = "is_zero")]
    pub content_failures: u64,
    /// Duration of the last complete download in milliseconds; of a resumed one its last part.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub download_millis: Option<u64>,
    /// Duration of verification, postinst and commit of the last update, in milliseconds.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub finish_millis: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Tally {
    /// Counts a check.
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

    /// Counts `bytes` of a download; `whole_after` milliseconds, if the payload is complete.
    pub fn downloaded(&mut self, bytes: u64, whole_after: Option<u64>) {
        self.downloaded_bytes = self.downloaded_bytes.saturating_add(bytes);
        self.download_millis = whole_after.or(self.download_millis);
    }

    /// Counts an image that was made of a content package.
    pub fn made_of_content(&mut self) {
        self.content_images = self.content_images.saturating_add(1);
    }

    /// Counts a content package that was given up.
    pub fn gave_content_up(&mut self) {
        self.content_failures = self.content_failures.saturating_add(1);
    }

    /// Counts an installed update, `after` milliseconds after its last byte had come.
    pub fn installed(&mut self, after: u64, now: UnixTime) {
        self.installed = self.installed.saturating_add(1);
        self.last_installed = Some(now);
        self.finish_millis = Some(after);
    }

    /// Counts a staged update, `after` milliseconds after its last byte had come.
    pub fn staged(&mut self, after: u64) {
        self.staged = self.staged.saturating_add(1);
        self.finish_millis = Some(after);
    }

    /// Counts a staged update that was activated as installed.
    pub fn activated(&mut self, now: UnixTime) {
        self.installed = self.installed.saturating_add(1);
        self.last_installed = Some(now);
    }

    /// Counts a failure with this code.
    pub fn failed(&mut self, code: u32, now: UnixTime) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some((code, now));
    }

    /// Counts a rollback.
    pub fn rolled_back(&mut self, now: UnixTime) {
        self.rollbacks = self.rollbacks.saturating_add(1);
        self.last_rollback = Some(now);
    }
}
