//! The wall clock beside a steady one, by which it is noticed that somebody set it: pure.

use std::time::Duration;

use crate::policy::ClockStep;
use crate::status::UnixTime;

/// Seconds that the clock may be off before it counts as set: rounding, and what NTP gets by
/// running it faster or slower.
const TOLERANCE: i64 = 2;

/// Seconds after the machine's start in which a forward step means that the clock was wrong until
/// then: a node without a battery asks NTP early. Later, a machine that was paused as a whole, as
/// by a snapshot or a migration, is set forward too, and what it noted before the pause is right.
const EARLY: u64 = 3600;

/// Unix time before which no right clock can be: this program wasn't there yet (2026-01-01).
const FLOOR: i64 = 1_767_225_600;

/// Both clocks, as they were when the one of the wall was known to be right last.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the oldest time was noted that may be wrong, by the steady one.
    since: Duration,
    wall: i64,
    steady: Duration,
}

impl Clock {
    /// `wall` in Unix time, `steady` since the machine's start.
    pub(super) const fn new(wall: i64, steady: Duration) -> Self {
        Self {
            since: steady,
            wall,
            steady,
        }
    }

    /// How the clock of the wall was set since, if that shows that it was wrong before.
    pub(super) fn step(&mut self, wall: i64, steady: Duration) -> Option<ClockStep> {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let was = self
            .wall
            .saturating_add(seconds(steady.saturating_sub(self.steady)));
        let by = wall.saturating_sub(was);
        if by.abs() < TOLERANCE {
            return None;
        }
        (self.wall, self.steady) = (wall, steady);
        if by > 0 && was >= FLOOR && steady.as_secs() > EARLY {
            self.since = steady;
            return None;
        }
        let age = seconds(steady.saturating_sub(self.since));
        Some(ClockStep {
            since: UnixTime(was.saturating_sub(age)),
            until: UnixTime(was),
            by,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed_once_and_one_that_drifts_is_not() {
        let at = Duration::from_secs;
        let mut clock = Clock::new(1000, at(50));
        assert_eq!(clock.step(1101, at(150)), None);
        let forward = ClockStep {
            since: UnixTime(1000),
            until: UnixTime(1200),
            by: 9_000_000,
        };
        assert_eq!(clock.step(9_001_200, at(250)), Some(forward));
        assert_eq!(clock.step(9_001_210, at(260)), None);
        let back = ClockStep {
            since: UnixTime(9_001_000),
            until: UnixTime(9_001_220),
            by: -3600,
        };
        assert_eq!(clock.step(9_001_220 - 3600, at(270)), Some(back));
    }

    #[test]
    fn what_a_machine_noted_before_it_was_paused_stays() {
        let at = Duration::from_secs;
        let noted = FLOOR + 1000;
        let mut clock = Clock::new(noted, at(50));
        let hours = 8 * 3600;
        assert_eq!(clock.step(noted + 3600 + hours, at(3650)), None, "paused");
        // Set back later: only what was noted since can be wrong.
        let back = clock.step(noted + 3700 + hours - 60, at(3750)).unwrap();
        assert_eq!((back.since, back.by), (UnixTime(noted + 3600 + hours), -60));
        // Early after the start, and by a clock that can't be right, the clock was wrong.
        let mut without_battery = Clock::new(noted, at(50));
        assert!(without_battery.step(noted + hours, at(60)).is_some());
        let mut in_1970 = Clock::new(50, at(50));
        assert!(in_1970.step(noted, at(900_000)).is_some());
    }
}
