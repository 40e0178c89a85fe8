//! Least average rate of a download, over a window that is long enough for passing faults.

use std::num::NonZeroU64;
use std::time::Duration;

use super::FetchSettings;

/// Counts bytes against the time spent waiting for a server. Time in which nothing was read (a slow
/// disk, the rate limit) doesn't count: it says nothing about the server.
#[derive(Debug)]
pub(super) struct Floor {
    window: Duration,
    quota: u64,
    waited: Duration,
    arrived: u64,
}

/// A whole window brought fewer bytes than the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BelowFloor {
    /// Bytes received in the window.
    pub(super) bytes: u64,
    /// Length of the window.
    pub(super) window: Duration,
}

impl Floor {
    pub(super) fn new(settings: &FetchSettings) -> Self {
        let rate = settings.floor.map_or(0, NonZeroU64::get);
        Self {
            window: settings.floor_window,
            quota: rate.saturating_mul(settings.floor_window.as_secs()),
            waited: Duration::ZERO,
            arrived: 0,
        }
    }

    /// Counts `bytes` that came after waiting for `waited`. A full quota opens a new window.
    pub(super) fn count(&mut self, waited: Duration, bytes: usize) -> Result<(), BelowFloor> {
        self.waited = self.waited.saturating_add(waited);
        self.arrived = self.arrived.saturating_add(bytes as u64);
        if self.arrived >= self.quota {
            (self.waited, self.arrived) = (Duration::ZERO, 0);
        } else if self.waited >= self.window {
            return Err(BelowFloor {
                bytes: self.arrived,
                window: self.waited,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default of `DOWNLOAD_FLOOR`.
    fn floor() -> Floor {
        Floor::new(&FetchSettings {
            floor: NonZeroU64::new(256),
            ..FetchSettings::default()
        })
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_server_that_trickles_is_given_up_after_an_hour_of_waiting() {
        let mut floor = floor();
        assert_eq!(floor.count(SECOND, 100_000), Ok(()));
        let below = (2..).find_map(|second| floor.count(SECOND, 11).err().map(|below| (second, below.bytes)));
        assert_eq!(below, Some((3600, 100_000 + 3599 * 11)));
    }

    #[test]
    fn a_satellite_of_9600_bits_a_second_is_never_too_slow_even_if_it_is_away_most_of_the_time() {
        // 1,000 bytes of payload a second while it is there: a third of each hour, then nothing.
        let mut floor = floor();
        for _ in 0..100 {
            for second in 0..3600 {
                let bytes = if second < 1200 { 1000 } else { 0 };
                assert_eq!(floor.count(SECOND, bytes), Ok(()));
            }
        }
    }

    #[test]
    fn without_a_floor_it_may_take_for_ever() {
        let mut floor = Floor::new(&FetchSettings::default());
        assert_eq!(floor.count(Duration::MAX, 0), Ok(()));
    }
}
