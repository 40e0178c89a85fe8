//! The clock of the wall beside one that nobody sets: pure.

use std::time::Duration;

use crate::policy::{ClockStep, UnixTime};

/// Seconds that the clock may be off before it counts as set: rounding, and what NTP gets by running it faster or slower.
const TOLERANCE: i64 = 2;

/// Both clocks, as they were when the one of the wall was known to be right last.
#[derive(Debug)]
pub(super) struct Clock {
    /// When this process began, by the steady one.
    started: Duration,
    wall: i64,
    steady: Duration,
}

impl Clock {
    pub(super) const fn new(wall: i64, steady: Duration) -> Self {
        Self {
            started: steady,
            wall,
            steady,
        }
    }

    /// Whether the clock of the wall was set since, and how.
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
        let age = seconds(steady.saturating_sub(self.started));
        Some(ClockStep {
            since: UnixTime(was.saturating_sub(age)),
            until: UnixTime(was),
            by,
        })
    }
}

#[cfg(test)]
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
}
