//! Rate limit: a bucket of tokens that fills with time.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::time::{sleep, sleep_until};

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
}
