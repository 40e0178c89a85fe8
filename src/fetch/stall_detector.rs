//! Stall detection.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::FetchSettings;
use super::error::Interruption;

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
    use super::*;
    use tokio::time::sleep;

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
