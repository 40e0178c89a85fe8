//! The progress of a download: which steps of it are worth a signal, its rate, and the time until its
//! end.

use std::collections::VecDeque;
use std::time::Duration;

use crate::status::Transfer;

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

/// The rate is that of so long, ...
const WINDOW: Duration = Duration::from_secs(10);
/// ... measured so often.
const TICK: Duration = Duration::from_millis(500);

/// Measures a download over its last seconds. Bytes of an earlier attempt are there from the first
/// report on, and count for no rate.
#[derive(Debug, Default)]
pub struct Meter {
    samples: VecDeque<(Duration, u64)>,
    done: u64,
    total: u64,
}

impl Meter {
    /// `done` of `total` bytes are there at time `now`, on a clock that never steps back.
    pub fn note(&mut self, done: u64, total: u64, now: Duration) {
        (self.done, self.total) = (done, total);
        let last = self.samples.back();
        if last.is_none_or(|(at, _)| now.saturating_sub(*at) >= TICK) {
            self.samples.push_back((now, done));
        }
        // One sample at or before the start of the window stays.
        while let Some((second, _)) = self.samples.get(1)
            && now.saturating_sub(*second) >= WINDOW
        {
            self.samples.pop_front();
        }
    }

    /// What can be told; nothing before the first report.
    #[must_use]
    pub fn transfer(&self) -> Option<Transfer> {
        self.samples.front()?;
        let rate = self.rate();
        let left = self.total.saturating_sub(self.done);
        Some(Transfer {
            bytes_done: self.done,
            bytes_total: self.total,
            bytes_per_second: rate,
            eta_seconds: rate.and_then(|rate| left.checked_div(rate)),
            content_package: None,
        })
    }

    fn rate(&self) -> Option<u64> {
        let ((from, first), (to, last)) = (self.samples.front()?, self.samples.back()?);
        let millis = u64::try_from(to.saturating_sub(*from).as_millis()).ok()?;
        last.saturating_sub(*first)
            .saturating_mul(1000)
            .checked_div(millis)
    }
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

    const MIB: u64 = 1 << 20;

    fn measured(reports: impl IntoIterator<Item = (u64, u64)>) -> Transfer {
        let mut meter = Meter::default();
        for (seconds, done) in reports {
            meter.note(done, 1000 * MIB, Duration::from_secs(seconds));
        }
        meter.transfer().unwrap()
    }

    #[test]
    fn nothing_is_told_before_the_first_bytes_and_no_rate_of_one_report() {
        assert_eq!(Meter::default().transfer(), None);
        let first = measured([(0, 7)]);
        assert_eq!(
            (first.bytes_done, first.bytes_per_second, first.eta_seconds),
            (7, None, None)
        );
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let slow_then_fast = (0..60).map(|s| (s, if s < 40 { s } else { 40 + (s - 40) * 10 } * MIB));
        let transfer = measured(slow_then_fast);
        assert_eq!(transfer.bytes_per_second, Some(10 * MIB));
        assert_eq!(transfer.eta_seconds, Some((1000 - 230) / 10));
    }

    #[test]
    fn what_an_earlier_attempt_brought_is_no_speed() {
        let transfer = measured([(0, 500 * MIB), (1, 501 * MIB), (2, 502 * MIB)]);
        assert_eq!(transfer.bytes_per_second, Some(MIB));
    }

    #[test]
    fn a_download_that_stands_still_never_ends() {
        let transfer = measured((0..30).map(|s| (s, 5)));
        assert_eq!((transfer.bytes_per_second, transfer.eta_seconds), (Some(0), None));
    }

    #[test]
    fn memory_is_bounded_whatever_the_number_of_reports() {
        let mut meter = Meter::default();
        for milli in 0..600_000 {
            meter.note(milli, 600_000, Duration::from_millis(milli));
        }
        assert!(meter.samples.len() <= 22, "{}", meter.samples.len());
    }
}
