//! The interval between update checks.
//!
//! | after | interval | jitter |
//! |---|---|---|
//! | start | 7 min | ± 5 min |
//! | any check | 45 min | ± 5 min |
//! | HTTP 500 or 503, of the check or of the payload | twice the last one, 45 min to 4 h | ± half, once longer than 45 min |
//! | `PollInterval` | that, 45 min to 4 h | ± half, likewise |

use std::time::Duration;

use crate::omaha::HttpStatus;

const FIRST: u32 = 7 * 60;
const REGULAR: u32 = 45 * 60;
const REGULAR_JITTER: u32 = 5 * 60;
const LONGEST: u32 = 4 * 60 * 60;

/// The answers of servers that the time of the next check depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerPace {
    /// HTTP status of a failed check, or of the download after it; none if both succeeded.
    pub failure: Option<HttpStatus>,
    /// The server's `PollInterval`, if it sent one.
    pub poll_interval: Option<Duration>,
}

impl ServerPace {
    /// An answer without a wish; also stands for messages that are no checks, such as pings.
    pub const ORDINARY: Self = Self {
        failure: None,
        poll_interval: None,
    };

    const fn is_overloaded(self) -> bool {
        matches!(self.failure, Some(HttpStatus::Status(500 | 503)))
    }
}

/// Time until the next check, before jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    seconds: u32,
    jitter: u32,
    because: Because,
}

/// The reason for an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    Start,
    Habit,
    Overload,
    Wish,
}

impl Interval {
    /// After the daemon's start.
    pub const FIRST: Self = Self {
        seconds: FIRST,
        jitter: REGULAR_JITTER,
        because: Because::Start,
    };

    /// After a check that came after `self`.
    #[must_use]
    pub fn next(self, pace: ServerPace) -> Self {
        let (wished, because) = match pace.poll_interval {
            Some(interval) => (
                u32::try_from(interval.as_secs()).unwrap_or(LONGEST),
                Because::Wish,
            ),
            None if pace.is_overloaded() => (self.seconds.saturating_mul(2), Because::Overload),
            None => (0, Because::Habit),
        };
        // A server may slow us down within reason; nobody may speed us up.
        let seconds = wished.min(LONGEST);
        if seconds < REGULAR {
            return Self {
                seconds: REGULAR,
                jitter: REGULAR_JITTER,
                because: Because::Habit,
            };
        }
        Self {
            seconds,
            jitter: seconds / 2,
            because,
        }
    }

    /// The reason for the interval's length in a sentence.
    #[must_use]
    pub fn reason(self) -> String {
        let (from, to) = (self.seconds - self.jitter, self.seconds + self.jitter);
        let range = format!("{} to {} minutes", from / 60, to / 60);
        match self.because {
            Because::Start => format!("the first check comes {range} after the daemon's start"),
            Because::Habit => format!("checks come every {range}"),
            Because::Overload => {
                format!("the server was overloaded: checks come every {range} until it is not")
            }
            Because::Wish => format!("the server wants a check every {range}"),
        }
    }

    /// The time to wait, jitter included.
    #[must_use]
    pub fn delay(self, seed: Seed) -> Duration {
        let seconds = i64::from(self.seconds) + seed.within(self.jitter);
        // Jitter is always smaller than the interval.
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }
}

/// A random number for one decision: equal seeds decide equally. Draw a fresh one from the system
/// for each decision; it keeps thousands of nodes from asking at once and guards no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// A number from `-radius` to `radius`, all about equally likely.
    pub(super) fn within(self, radius: u32) -> i64 {
        let width = 2 * u64::from(radius) + 1;
        // The remainder is below 2^33, so it fits; the bias of a remainder by so small a number is
        // nil.
        let drawn = i64::try_from(self.mixed() % width).unwrap_or_default();
        drawn - i64::from(radius)
    }

    /// The finalizer of `SplitMix64`: neighbouring seeds give unrelated numbers.
    fn mixed(self) -> u64 {
        let mut x = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: u64 = 60;

    fn overloaded(status: u16) -> ServerPace {
        ServerPace {
            failure: Some(HttpStatus::Status(status)),
            ..ServerPace::ORDINARY
        }
    }

    fn wished(seconds: u64) -> ServerPace {
        ServerPace {
            poll_interval: Some(Duration::from_secs(seconds)),
            ..ServerPace::ORDINARY
        }
    }

    /// The shortest and the longest delay of many seeds, in seconds.
    fn range(interval: Interval) -> (u64, u64) {
        let delays: Vec<_> = (0..20_000).map(|s| interval.delay(Seed(s)).as_secs()).collect();
        (
            delays.iter().copied().min().unwrap_or(0),
            delays.iter().copied().max().unwrap_or(0),
        )
    }

    #[test]
    fn the_first_check_comes_after_two_to_twelve_minutes() {
        assert_eq!(range(Interval::FIRST), (2 * MINUTE, 12 * MINUTE));
    }

    #[test]
    fn then_one_every_forty_to_fifty_minutes() {
        let interval = Interval::FIRST.next(ServerPace::ORDINARY);
        assert_eq!(range(interval), (40 * MINUTE, 50 * MINUTE));
        assert_eq!(interval.next(ServerPace::ORDINARY), interval);
        assert_eq!(interval.next(overloaded(404)), interval);
    }

    #[test]
    fn an_overloaded_server_is_asked_half_as_often_each_time_down_to_every_four_hours() {
        for status in [500, 503] {
            let mut interval = Interval::FIRST;
            let minutes: Vec<_> = std::iter::repeat_with(|| {
                interval = interval.next(overloaded(status));
                interval.seconds / 60
            })
            .take(5)
            .collect();
            assert_eq!(minutes, [45, 90, 180, 240, 240]);
            assert_eq!(interval.next(ServerPace::ORDINARY).seconds, REGULAR);
        }
    }

    #[test]
    fn a_server_may_slow_the_machine_down_but_not_hurry_it() {
        for (wish, minutes) in [
            (1, 45),
            (45 * 60 - 1, 45),
            (3600, 60),
            (86_400, 240),
            (u64::MAX, 240),
        ] {
            assert_eq!(Interval::FIRST.next(wished(wish)).seconds, minutes * 60, "{wish}");
        }
        let hour = Interval::FIRST.next(wished(3600));
        let (shortest, longest) = range(hour);
        assert!((1800..1810).contains(&shortest), "{shortest}");
        assert!((5390..=5400).contains(&longest), "{longest}");
    }

    proptest! {
        #[test]
        fn no_history_brings_the_next_check_nearer_than_22_minutes_or_further_than_six_hours(
            history in proptest::collection::vec((any::<Option<u16>>(), any::<Option<u64>>()), 1..20),
            seed in any::<u64>(),
        ) {
            let interval = history.into_iter().fold(Interval::FIRST, |interval, (status, wish)| {
                interval.next(ServerPace {
                    failure: status.map(HttpStatus::Status),
                    poll_interval: wish.map(Duration::from_secs),
                })
            });
            let delay = interval.delay(Seed(seed)).as_secs();
            prop_assert!((22 * MINUTE..=6 * 60 * MINUTE).contains(&delay));
        }
    }
}
