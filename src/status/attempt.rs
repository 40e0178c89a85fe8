//! The report of one attempt at an update: who asked, its state, and its figures; and the progress of
//! its download. Times are Unix times in seconds.

use std::fmt;

use serde::{Deserialize, Serialize};
use zbus::wire::{Type, Variant};

use crate::amounts::{bytes, duration};

/// Who asked for a check, and for the attempt that follows from it. An operator's check says
/// `ondemandupdate` to the server, which then skips its own rate limits, and may bring a payload
/// that the node rolled back from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum Trigger {
    /// The schedule.
    #[default]
    Schedule,
    /// An operator or a program, through the bus.
    Operator,
}

/// The state of an attempt: under way, or what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum AttemptState {
    /// The payload is fetched, written, verified.
    UnderWay,
    /// The attempt ended with an error.
    Failed,
    /// The daemon or the machine went down during the attempt.
    Interrupted,
    /// The slot is installed and doesn't boot before it is activated.
    Staged,
    /// The slot is installed and boots next.
    Waiting,
    /// The slot was never booted, and doesn't boot next any more.
    Withdrawn,
    /// The slot runs and is not marked good yet.
    OnTrial,
    /// The slot ran and was found good.
    Kept,
    /// The node went back to the slot before.
    RolledBack,
    /// A state that another version of the engine has written.
    #[default]
    #[serde(other)]
    Unknown,
}

impl AttemptState {
    /// Whether the attempt has installed an image, whatever became of that.
    #[must_use]
    pub const fn has_image(self) -> bool {
        matches!(
            self,
            Self::Staged | Self::Waiting | Self::Withdrawn | Self::OnTrial | Self::Kept | Self::RolledBack
        )
    }
}

/// One attempt to install what the server offered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct AttemptReport {
    /// Unix time at which the offer was taken.
    pub began: i64,
    /// Unix time at which the slot was installed or the attempt given up; none after a power cut.
    pub ended: Option<i64>,
    /// The version that was running.
    pub from: String,
    /// The version offered.
    pub to: String,
    /// The slot written: `USR-A` or `USR-B`.
    pub slot: String,
    /// SHA-256 of the payload: 64 lower-case hexadecimal digits.
    pub payload_sha256: String,
    /// Size of the payload in bytes.
    pub bytes_total: u64,
    /// Bytes of the payload that an earlier attempt had written; this one resumed there.
    pub bytes_resumed: u64,
    /// Bytes that were fetched in this attempt, those of a content package included.
    pub bytes_fetched: u64,
    /// Name of the content package that was tried before the payload; none if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_package: Option<String>,
    /// Bytes of it that were to be fetched; none if it was given up before that was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_expected: Option<u64>,
    /// Bytes of it that were fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_fetched: Option<u64>,
    /// Why it was given up and the payload fetched, in a sentence; none if it made the image, or the
    /// attempt ended with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_failure: Option<String>,
    /// Duration of fetching and writing, in seconds.
    pub download_seconds: u64,
    /// Duration of verification, postinst and commit, in seconds.
    pub finish_seconds: u64,
    /// Who asked for the attempt.
    pub asked_by: Trigger,
    /// The attempt's state, as the engine last saw it.
    pub outcome: AttemptState,
    /// The number that the server was told, without flags.
    pub code: Option<u32>,
    /// The failure or the rollback's cause in a sentence; none if there is nothing to say.
    pub reason: Option<String>,
    /// Number of consecutive attempts that ended in this way before anything was fetched, at least
    /// 1; the times are the last one's.
    pub times: u32,
}

/// The progress of a download: of the payload, or of what is fetched of a content package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct Transfer {
    /// Bytes of the payload that have come, including those of an earlier attempt.
    pub bytes_done: u64,
    /// Size of the payload in bytes, or bytes to be fetched of a content package.
    pub bytes_total: u64,
    /// Rate over the last seconds; none until there is one.
    pub bytes_per_second: Option<u64>,
    /// Seconds to the end of the download at this rate; none without a rate.
    pub eta_seconds: Option<u64>,
    /// Name of the content package that is fetched; none if it is the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_package: Option<String>,
}

impl Transfer {
    /// Percentage of the payload that is there, rounded down: 0 to 100.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let done = self.bytes_done.saturating_mul(100);
        done.checked_div(self.bytes_total).unwrap_or(100).min(100)
    }
}

/// The progress in one line.
impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, total) = (bytes(self.bytes_done), bytes(self.bytes_total));
        write!(f, "{} %, {done} of {total}", self.percent())?;
        if let Some(rate) = self.bytes_per_second {
            write!(f, ", {}/s", bytes(rate))?;
        }
        if let Some(eta) = self.eta_seconds {
            write!(f, ", {} left", duration(eta))?;
        }
        if let Some(package) = &self.content_package {
            write!(f, ", of content package {package}")?;
        }
        Ok(())
    }
}
