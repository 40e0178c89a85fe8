//! The schedule of checks: the time until the next one, by how the last one went.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::omaha::HttpStatus;
use crate::policy::{Interval, Seed, ServerPace};

/// When this process checks. Doesn't block.
#[derive(Default)]
pub(super) struct CheckSchedule(Mutex<CheckPace>);

#[derive(Default)]
struct CheckPace {
    /// The interval before the last check; none before the first.
    interval: Option<Interval>,
    /// How the last check went, as far as the next one's time depends on it.
    outcome: Option<ServerPace>,
}

impl CheckSchedule {
    /// The time from now until the next check; the last one's outcome counts once.
    pub(super) fn next_delay(&self, seed: Seed) -> Duration {
        self.pace(|last| {
            let outcome = last.outcome.take().unwrap_or(ServerPace::ORDINARY);
            let next = last.interval.map_or(Interval::FIRST, |last| last.next(outcome));
            last.interval = Some(next);
            next.delay(seed)
        })
    }

    /// Why the next check comes then.
    pub(super) fn reason(&self) -> String {
        self.pace(|last| last.interval.unwrap_or(Interval::FIRST))
            .reason()
    }

    /// The server has answered a check, and may have a wish for the next one's time.
    pub(super) fn answered(&self, poll_interval: Option<Duration>) {
        self.pace(|last| {
            last.outcome = Some(ServerPace {
                failure: None,
                poll_interval,
            });
        });
    }

    /// A check got no answer.
    pub(super) fn failed(&self, status: HttpStatus) {
        self.pace(|last| {
            last.outcome = Some(ServerPace {
                failure: Some(status),
                poll_interval: None,
            });
        });
    }

    /// A server of payloads has refused a download. It slows down checks as that of updates does:
    /// often they are the same.
    pub(super) fn payload_refused(&self, status: HttpStatus) {
        self.pace(|last| last.outcome.get_or_insert(ServerPace::ORDINARY).failure = Some(status));
    }

    fn pace<T>(&self, look: impl FnOnce(&mut CheckPace) -> T) -> T {
        // Plain values: a panic elsewhere cannot have left them half written.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
impl CheckSchedule {
    /// The status of the last check's failure, if the next one's time depends on one.
    pub(super) fn failure(&self) -> Option<HttpStatus> {
        self.pace(|last| last.outcome.and_then(|outcome| outcome.failure))
    }
}
