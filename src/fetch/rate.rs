//! Rates of a download: the limit that it keeps, the least average below which it gives way to
//! another server, and the time without a byte after which it has stalled.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::FetchSettings;
use super::error::Interruption;

/// Most that an idle connection may catch up.
const BURST: Duration = Duration::from_secs(1);

/// Holds a second's worth of bytes at most. A read may take more than is left, and the next read
/// waits until that is paid off, so that a chunk from the connection needn't be cut.
#[derive(Debug)]
pub(super) struct RateLimit {
    bytes_per_second: NonZeroU64,
    /// Time from which the bucket is not empty.
    free_at: Instant,
}

impl RateLimit {
    /// An empty bucket.
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Self {
        Self {
            bytes_per_second,
            free_at: Instant::now(),
        }
    }

    /// Time at which the next bytes may be taken.
    pub(super) const fn free_at(&self) -> Instant {
        self.free_at
    }

    /// Takes `bytes` at `now`.
    pub(super) fn spend(&mut self, now: Instant, bytes: usize) {
        let full = now.checked_sub(BURST).unwrap_or(now);
        self.free_at = self.free_at.max(full) + self.cost(bytes);
    }

    fn cost(&self, bytes: usize) -> Duration {
        let nanos = (bytes as u128).saturating_mul(1_000_000_000) / u128::from(self.bytes_per_second.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

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

/// Detects that too few bytes come while they are waited for. Time in which nothing was read (a
/// slow disk) doesn't count: it says nothing about the server.
#[derive(Debug)]
pub(super) struct StallDetector {
    window: Duration,
    quota: u64,
    waited: Duration,
    arrived: u64,
}

/// Fewer bytes than the quota came in a whole window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSlow;

impl StallDetector {
    pub(super) fn new(settings: &FetchSettings) -> Self {
        Self {
            window: settings.stall_window,
            quota: settings.stall_bytes,
            waited: Duration::ZERO,
            arrived: 0,
        }
    }

    /// Waits for `bytes`, at most for the rest of the window.
    pub(super) async fn wait<T>(&mut self, bytes: impl Future<Output = T>) -> Result<T, TooSlow> {
        let since = Instant::now();
        let came = timeout(self.window.saturating_sub(self.waited), bytes).await;
        self.waited += since.elapsed();
        came.map_err(|_| TooSlow)
    }

    /// The interruption for a window that brought too little.
    pub(super) fn stalled(&self) -> Interruption {
        Interruption::Stalled {
            bytes: self.quota,
            window: self.window,
        }
    }

    /// Counts bytes that came; a full quota opens a new window.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.arrived = self.arrived.saturating_add(bytes as u64);
        if self.arrived >= self.quota {
            self.arrived = 0;
            self.waited = Duration::ZERO;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::time::{sleep, sleep_until};

    use super::*;

    fn limit(rate: u64) -> RateLimit {
        RateLimit::new(NonZeroU64::new(rate).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_come_at_the_rate_whatever_the_pieces() {
        for piece in [1, 100, 7_000] {
            let (began, mut limit) = (Instant::now(), limit(1_000));
            for _ in 0..70_000 / piece {
                sleep_until(limit.free_at()).await;
                limit.spend(Instant::now(), piece);
            }
            sleep_until(limit.free_at()).await;
            assert_eq!(began.elapsed().as_millis() / 100, 700, "{piece}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_a_seconds_worth_comes_at_once() {
        let mut limit = limit(1_000);
        sleep(Duration::from_secs(3600)).await;
        let mut at_once = 0;
        while limit.free_at() <= Instant::now() {
            limit.spend(Instant::now(), 100);
            at_once += 100;
        }
        assert_eq!(at_once, 1_100);
    }

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

    fn pace() -> StallDetector {
        StallDetector::new(&FetchSettings::default())
    }

    #[tokio::test(start_paused = true)]
    async fn nine_bytes_a_second_are_too_slow_after_ninety_seconds() {
        let (mut pace, began) = (pace(), Instant::now());
        loop {
            if pace.wait(sleep(Duration::from_secs(1))).await.is_err() {
                break;
            }
            pace.arrived(9);
        }
        assert_eq!(began.elapsed().as_secs(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_bytes_a_second_are_enough_for_ever() {
        let mut pace = pace();
        for _ in 0..1000 {
            pace.wait(sleep(Duration::from_secs(1))).await.unwrap();
            pace.arrived(10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_asks_does_not_count() {
        let mut pace = pace();
        pace.wait(sleep(Duration::from_secs(89))).await.unwrap();
        sleep(Duration::from_secs(3600)).await;
        pace.wait(sleep(Duration::from_millis(500))).await.unwrap();
        assert_eq!(pace.wait(sleep(Duration::from_secs(1))).await, Err(TooSlow));
    }
}
