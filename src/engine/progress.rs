//! The throttle of progress: which steps of a download are worth a signal.

use std::time::Duration;

/// A signal is due after so much more of the payload, ...
const STEP: f64 = 0.01;
/// ... or after so long without one.
const SILENCE: Duration = Duration::from_secs(10);

/// Thins the reports of a download: the first bytes, then every further percent, at least every ten
/// seconds while bytes come, and the last byte.
#[derive(Debug, Default)]
pub struct Throttle {
    last: Option<(f64, Duration)>,
}

impl Throttle {
    /// The fraction to signal for `done` of `total` bytes, if any, at time `now` on a clock that
    /// never steps back.
    pub fn offer(&mut self, done: u64, total: u64, now: Duration) -> Option<f64> {
        let fraction = fraction(done, total);
        let due = match self.last {
            None => true,
            Some((last, at)) => done >= total || fraction - last >= STEP || now.saturating_sub(at) >= SILENCE,
        };
        due.then(|| {
            self.last = Some((fraction, now));
            fraction
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a fraction for display; payloads are far below 2^53 bytes"
)]
fn fraction(done: u64, total: u64) -> f64 {
    if total == 0 {
        return 1.0;
    }
    (done as f64 / total as f64).min(1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[test]
    fn the_first_bytes_are_signalled() {
        assert_eq!(Throttle::default().offer(1, 1_000_000, AT_ONCE), Some(0.000_001));
    }

    #[test]
    fn a_whole_download_signals_about_once_per_percent() {
        let mut throttle = Throttle::default();
        let signals: Vec<f64> = (1..=10_000)
            .filter_map(|done| throttle.offer(done, 10_000, AT_ONCE))
            .collect();
        assert!((90..=102).contains(&signals.len()), "{}", signals.len());
        assert_eq!(signals.last(), Some(&1.0));
    }

    #[test]
    fn a_trickle_is_signalled_every_ten_seconds() {
        let mut throttle = Throttle::default();
        throttle.offer(1, 1_000_000, AT_ONCE);
        assert_eq!(throttle.offer(2, 1_000_000, Duration::from_secs(9)), None);
        assert!(throttle.offer(3, 1_000_000, Duration::from_secs(10)).is_some());
    }

    #[test]
    fn the_fraction_never_passes_one() {
        assert_eq!(Throttle::default().offer(5, 4, AT_ONCE), Some(1.0));
        assert_eq!(Throttle::default().offer(0, 0, AT_ONCE), Some(1.0));
    }
}
