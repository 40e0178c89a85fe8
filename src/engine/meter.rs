//! The meter of a download: its rate, and the time until its end.

use std::collections::VecDeque;
use std::time::Duration;

use crate::status::Transfer;

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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
