//! The correction of times that were noted before the clock was set: pure.

use crate::status::{Tally, UnixTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::attempts::Attempts;
use super::blocked_payloads::TRIALS_APART;
use super::grants::{GRANT_TIMEOUT, HoldOff, HoldOffCause};
use super::history::History;

/// A step of the wall clock. Times that this process noted before are wrong by as much; those of
/// earlier processes were noted by a clock of which nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// When this process began, by the clock as it was.
    pub since: UnixTime,
    /// The moment of the step, by the clock as it was.
    pub until: UnixTime,
    /// Seconds that it went forward, or back if negative.
    pub by: i64,
}

impl ClockStep {
    /// A time that may have been noted before the step, as the clock would have shown it had it
    /// been right.
    #[must_use]
    pub fn corrected(&self, time: UnixTime) -> UnixTime {
        if self.since <= time && time <= self.until {
            time.plus_seconds(self.by)
        } else {
            time
        }
    }

    /// The same for a file's time; fractions of a second stay.
    #[must_use]
    pub fn corrected_time(&self, time: SystemTime) -> SystemTime {
        // Before 1970 no clock was set.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let noted = UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        if self.corrected(noted) == noted {
            return time;
        }
        let by = Duration::from_secs(self.by.unsigned_abs());
        let moved = if self.by < 0 {
            time.checked_sub(by)
        } else {
            time.checked_add(by)
        };
        moved.unwrap_or(time)
    }

    fn correct(&self, time: &mut UnixTime) {
        *time = self.corrected(*time);
    }
}

impl Tally {
    fn clock_stepped(&mut self, step: &ClockStep) {
        let times = [
            &mut self.last_answer,
            &mut self.last_installed,
            &mut self.last_rollback,
        ];
        let times = times.into_iter().filter_map(Option::as_mut);
        let failed = self.last_failure.as_mut().map(|(_, time)| time);
        times.chain(failed).for_each(|time| step.correct(time));
    }
}

impl History {
    /// Corrects the times that this process has noted.
    pub fn clock_stepped(&mut self, step: &ClockStep) {
        self.tally_mut().clock_stepped(step);
        if let Some(rollback) = &mut self.last_rollback {
            step.correct(&mut rollback.noticed);
        }
        for blocked in self.blocked.iter_mut() {
            if let Some(from) = &mut blocked.retry_from {
                let began = from.plus_seconds(-TRIALS_APART);
                *from = step.corrected(began).plus_seconds(TRIALS_APART);
            }
        }
        if let Some(HoldOff {
            cause: HoldOffCause::BlockedPayload,
            until,
        }) = &mut self.hold_off
        {
            let began = until.plus_seconds(-GRANT_TIMEOUT);
            *until = step.corrected(began).plus_seconds(GRANT_TIMEOUT);
        }
    }
}

impl Attempts {
    /// Corrects the times that this process has noted.
    pub fn clock_stepped(&mut self, step: &ClockStep) {
        for attempt in self.iter_mut() {
            step.correct(&mut attempt.began);
            if let Some(ended) = &mut attempt.ended {
                step.correct(ended);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEARS: i64 = 1_795_000_000;

    #[test]
    fn what_was_noted_by_a_wrong_clock_is_right_once_it_is_set() {
        // A start without a clock, and NTP five minutes later.
        let step = ClockStep {
            since: UnixTime(10),
            until: UnixTime(310),
            by: YEARS,
        };
        for (noted, is) in [
            (9, 9),
            (10, YEARS + 10),
            (310, YEARS + 310),
            (311, 311),
            (YEARS, YEARS),
        ] {
            assert_eq!(step.corrected(UnixTime(noted)), UnixTime(is), "{noted}");
        }
        let file = UNIX_EPOCH + Duration::from_millis(200_250);
        let years = Duration::from_secs(YEARS.unsigned_abs());
        assert_eq!(step.corrected_time(file), file + years);
        assert_eq!(step.corrected_time(file + years), file + years);
        let mut history = History::default();
        history.tally_mut().failed(31, UnixTime(200));
        history.tally_mut().rolled_back(UnixTime(YEARS - 5));
        history.hold_off(HoldOff::after_blocked_payload(UnixTime(20)));
        history.clock_stepped(&step);
        assert_eq!(history.tally().last_failure, Some((31, UnixTime(YEARS + 200))));
        assert_eq!(
            history.tally().last_rollback,
            Some(UnixTime(YEARS - 5)),
            "of an earlier boot"
        );
        let until = history.hold_off.map(|hold_off| hold_off.until);
        assert_eq!(until, Some(UnixTime(YEARS + 20 + GRANT_TIMEOUT)));
    }

    #[test]
    fn a_clock_that_was_an_hour_ahead_goes_back() {
        let step = ClockStep {
            since: UnixTime(YEARS + 3600),
            until: UnixTime(YEARS + 4200),
            by: -3600,
        };
        assert_eq!(step.corrected(UnixTime(YEARS + 4000)), UnixTime(YEARS + 400));
        assert_eq!(step.corrected(UnixTime(YEARS)), UnixTime(YEARS));
    }
}
