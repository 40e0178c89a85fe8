//! How long a download waits, and how often it tries.

use std::num::NonZeroU64;
use std::time::Duration;

/// Patience with a server. The defaults are the original engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchSettings {
    /// For one TCP and TLS connection to come up.
    pub connect_timeout: Duration,
    /// A transfer that brings fewer than [`Self::stall_bytes`] in this time is given up as stalled.
    pub stall_window: Duration,
    /// See [`Self::stall_window`].
    pub stall_bytes: u64,
    /// A payload that brings less on average over [`Self::floor_window`] is given up at this URL, however steadily it comes:
    /// bytes per second; `None`: it may take for ever.
    pub floor: Option<NonZeroU64>,
    /// So long is waited for the server, connections, pauses and all, before [`Self::floor`] is looked at.
    pub floor_window: Duration,
    /// Interruptions after which a stream goes on from where it was.
    pub resumes: u32,
    /// How often a fetch that gets no HTTP answer at all is tried again.
    pub no_answer_retries: u32,
    /// The pause before each of these tries.
    pub no_answer_delay: Duration,
    /// The pause before the first resumption; it doubles with each, up to [`Self::longest_delay`].
    pub resume_delay: Duration,
    /// The longest pause between resumptions.
    pub longest_delay: Duration,
    /// Bytes of a payload per second at most; `None`: as fast as they come.
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
    /// For an attempt that somebody waits for: fewer tries before they hear that there is no answer.
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
