//! Time-outs, retries and limits of downloads.

use std::num::NonZeroU64;
use std::time::Duration;

/// Time-outs, retries and limits. The defaults are the original engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchSettings {
    /// Limit for one TCP and TLS connection to be made.
    pub connect_timeout: Duration,
    /// A transfer that brings fewer than [`Self::stall_bytes`] in this time is given up as stalled.
    pub stall_window: Duration,
    /// Quota of bytes for [`Self::stall_window`].
    pub stall_bytes: u64,
    /// Least average rate over [`Self::floor_window`], in bytes per second; a URL that delivers
    /// less is given up. `None`: no limit.
    pub floor: Option<NonZeroU64>,
    /// Time of waiting for the server, connections and pauses included, over which [`Self::floor`]
    /// is measured.
    pub floor_window: Duration,
    /// Number of interruptions after which a stream resumes.
    pub resumes: u32,
    /// Number of retries of a request that gets no HTTP response.
    pub no_answer_retries: u32,
    /// Pause before each of these retries.
    pub no_answer_delay: Duration,
    /// Pause before the first resumption; it doubles with each, up to [`Self::longest_delay`].
    pub resume_delay: Duration,
    /// Longest pause between resumptions.
    pub longest_delay: Duration,
    /// Rate limit in bytes per second; `None`: no limit.
    pub rate: Option<NonZeroU64>,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            stall_window: Duration::from_secs(90),
            stall_bytes: 900,
            floor: None,
            floor_window: Duration::from_secs(60 * 60),
            resumes: 20,
            no_answer_retries: 3,
            no_answer_delay: Duration::from_secs(10),
            resume_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(20),
            rate: None,
        }
    }
}

impl FetchSettings {
    /// Settings for an attempt that a person waits for: fewer retries before it fails.
    #[must_use]
    pub fn interactive() -> Self {
        Self {
            no_answer_retries: 1,
            ..Self::default()
        }
    }

    /// The pause before resumption number `resumption`, counted from 1.
    pub(super) fn delay_before(&self, resumption: u32) -> Duration {
        let doublings = resumption.saturating_sub(1).min(31);
        self.resume_delay
            .saturating_mul(1 << doublings)
            .min(self.longest_delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let settings = FetchSettings::default();
        let seconds = [1, 2, 3, 4, 5, 6, 20].map(|n| settings.delay_before(n).as_secs());
        assert_eq!(seconds, [1, 2, 4, 8, 16, 20, 20]);
        assert_eq!(settings.delay_before(u32::MAX).as_secs(), 20);
    }
}
