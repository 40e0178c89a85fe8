//! Grants: what a check may win from a server that lets its nodes update a few at a time, and when
//! a node had better not ask.
//!
//! Such a server takes every `updatecheck` for the wish to update now, grants a place in the
//! roll-out, and waits for the node until the grant's time-out. Nebraska's safe mode has no other
//! brake than a grant that times out; an event that ends the update (3/0, or 3/2 with an empty
//! version) takes the brake off.
//!
//! | the node | tells | asks |
//! |---|---|---|
//! | has rolled back, and no server knows | 3/0 code 44 | yes: the grant that it doesn't follow is the brake |
//! | is on trial | 3/1 while it is a new update's trial, else what a check tells | no |
//! | has declined what it rolled back from | nothing: only a ping | not before the grant has timed out, or on demand |
//! | is in back-off | what a check tells | not before its end, or on demand |
//! | else | what became of the last update | yes |

use serde::{Deserialize, Serialize};

use super::History;
use crate::omaha::CheckEvent;
use crate::status::{Trigger, UnixTime};

/// After this many seconds a grant has timed out for certain: an hour is Nebraska's own default, a
/// day the longest that is in use, and an hour is for clocks.
pub const GRANT_TIMEOUT: i64 = 25 * 60 * 60;

/// Longest back-off, jitter included: see [`super::PayloadState`].
const LONGEST_BACKOFF: i64 = (16 * 24 + 6) * 60 * 60;

/// The cause for which a node doesn't ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldOffCause {
    /// It has declined a payload that it rolled back from, and the grant must not be renewed. Its
    /// name in records is older.
    #[serde(rename = "Blame", alias = "BlockedPayload")]
    BlockedPayload,
    /// The offered payload failed, and is put off.
    BackOff,
}

/// A hold-off: a time in which a node doesn't ask the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldOff {
    /// The cause of the hold-off.
    pub cause: HoldOffCause,
    /// Unix time from which on the server may be asked.
    pub until: UnixTime,
}

impl HoldOff {
    /// The hold-off after a blocked payload was declined at `now`.
    #[must_use]
    pub fn after_blocked_payload(now: UnixTime) -> Self {
        Self {
            cause: HoldOffCause::BlockedPayload,
            until: now.plus_seconds(GRANT_TIMEOUT),
        }
    }

    /// The rest of the hold-off at `now`; none once it is over. One that ends later than any that
    /// begins now was written by a clock that was wrong, then or now, and is cut.
    #[must_use]
    pub fn rest(self, now: UnixTime) -> Option<Self> {
        let longest = match self.cause {
            HoldOffCause::BlockedPayload => GRANT_TIMEOUT,
            HoldOffCause::BackOff => LONGEST_BACKOFF,
        };
        let until = self.until.min(now.plus_seconds(longest));
        (until > now).then_some(Self { until, ..self })
    }
}

impl History {
    /// Begins a hold-off.
    pub const fn hold_off(&mut self, hold_off: HoldOff) {
        self.hold_off = Some(hold_off);
    }

    /// Ends the hold-off: the server has answered, and no grant is left open.
    pub const fn end_hold_off(&mut self) {
        self.hold_off = None;
    }

    /// The rest of the hold-off at `now`. Without blocked payloads there is none because of them.
    pub fn look_at_hold_off(&mut self, now: UnixTime) -> Option<HoldOff> {
        let blocks_payloads = self.blocked_payloads().iter().next().is_some();
        let rest = self.hold_off.and_then(|hold_off| hold_off.rest(now));
        self.hold_off = rest.filter(|rest| blocks_payloads || rest.cause != HoldOffCause::BlockedPayload);
        self.hold_off
    }
}

/// The message to the server when a check is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// A check, with the outcome of the last update.
    Check(CheckEvent),
    /// A ping in place of the check.
    Heartbeat(Heartbeat),
}

/// A ping in place of a check, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heartbeat {
    /// The running slot is on trial; with this event, if any.
    OnTrial(Option<CheckEvent>),
    /// The offered payload is put off until then; with this event.
    BackOff(CheckEvent, UnixTime),
    /// The grant of a blocked payload times out by then; without an event.
    Quiet(UnixTime),
}

/// Decides whether a node that has `news` checks or pings.
#[must_use]
pub fn contact(trigger: Trigger, news: CheckEvent, is_on_trial: bool, hold_off: Option<HoldOff>) -> Contact {
    if news == CheckEvent::RolledBack {
        return Contact::Check(news);
    }
    let heartbeat = match hold_off {
        Some(HoldOff {
            cause: HoldOffCause::BlockedPayload,
            until,
        }) if is_on_trial || trigger == Trigger::Schedule => Heartbeat::Quiet(until),
        // Any 3/2 would end what was granted, and let others go: a success, which nobody knows yet,
        // as well as one that tells of no update. A node that has lost its preferences still is on
        // trial.
        _ if is_on_trial => Heartbeat::OnTrial(match news {
            CheckEvent::UpdatedFrom(_) | CheckEvent::Installed => Some(CheckEvent::Installed),
            CheckEvent::FirstCheck | CheckEvent::NothingNew | CheckEvent::RolledBack => None,
        }),
        Some(HoldOff { until, .. }) if trigger == Trigger::Schedule => Heartbeat::BackOff(news, until),
        _ => return Contact::Check(news),
    };
    Contact::Heartbeat(heartbeat)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_000_000_000);

    fn blocked() -> HoldOff {
        HoldOff::after_blocked_payload(NOW)
    }

    fn back_off() -> HoldOff {
        HoldOff {
            cause: HoldOffCause::BackOff,
            until: NOW.plus_seconds(86_400),
        }
    }

    fn later(seconds: i64) -> UnixTime {
        NOW.plus_seconds(seconds)
    }

    #[test]
    fn who_can_take_nothing_asks_for_nothing_and_says_nothing_that_lets_others_go() {
        use Trigger::{Operator, Schedule};
        let updated = || CheckEvent::UpdatedFrom("1.0.0".to_owned());
        let same = || CheckEvent::NothingNew;
        let installed = || Contact::Heartbeat(Heartbeat::OnTrial(Some(CheckEvent::Installed)));
        let quiet = || Contact::Heartbeat(Heartbeat::Quiet(blocked().until));
        let put_off = || Contact::Heartbeat(Heartbeat::BackOff(same(), back_off().until));
        let on_trial = || Contact::Heartbeat(Heartbeat::OnTrial(None));
        let asks = Contact::Check;
        for (trigger, news, is_on_trial, hold_off, expected) in [
            (Schedule, same(), false, None, asks(same())),
            (Schedule, updated(), false, None, asks(updated())),
            (Schedule, updated(), true, None, installed()),
            (Operator, updated(), true, None, installed()),
            (Schedule, same(), true, None, on_trial()),
            (Operator, CheckEvent::FirstCheck, true, None, on_trial()),
            (Schedule, same(), false, Some(blocked()), quiet()),
            (Schedule, same(), true, Some(blocked()), quiet()),
            (Operator, same(), true, Some(blocked()), quiet()),
            (Operator, same(), false, Some(blocked()), asks(same())),
            (Schedule, same(), false, Some(back_off()), put_off()),
            (Operator, same(), false, Some(back_off()), asks(same())),
        ] {
            let contact = contact(trigger, news.clone(), is_on_trial, hold_off);
            assert_eq!(
                contact, expected,
                "{trigger:?} {news:?} {is_on_trial} {hold_off:?}"
            );
        }
    }

    #[test]
    fn a_rollback_is_never_told_without_a_question() {
        let rolled_back = CheckEvent::RolledBack;
        for trigger in [Trigger::Operator, Trigger::Schedule] {
            for is_on_trial in [false, true] {
                for hold_off in [None, Some(blocked()), Some(back_off())] {
                    let contact = contact(trigger, rolled_back.clone(), is_on_trial, hold_off);
                    assert_eq!(contact, Contact::Check(rolled_back.clone()));
                }
            }
        }
    }

    #[test]
    fn no_step_of_the_clock_makes_the_quiet_longer_than_it_was_meant() {
        assert_eq!(blocked().rest(later(GRANT_TIMEOUT - 1)), Some(blocked()));
        assert_eq!(blocked().rest(later(GRANT_TIMEOUT)), None);
        let stepped_back = later(-40 * 365 * 86_400);
        let rest = blocked().rest(stepped_back).unwrap();
        assert_eq!(rest.until, stepped_back.plus_seconds(GRANT_TIMEOUT));
        assert_eq!(rest.rest(stepped_back.plus_seconds(GRANT_TIMEOUT)), None);
    }

    #[test]
    fn the_quiet_is_in_the_record_and_means_nothing_without_blame_or_in_another_form() {
        let mut history: History = serde_json::from_str("{}").unwrap();
        history.hold_off(blocked());
        assert_eq!(history.clone().look_at_hold_off(NOW), None);
        history.hold_off(back_off());
        let json = serde_json::to_string(&history).unwrap();
        let mut read: History = serde_json::from_str(&json).unwrap();
        assert_eq!(read.look_at_hold_off(NOW), Some(back_off()));
        for (cause, name) in [
            (HoldOffCause::BlockedPayload, "Blame"),
            (HoldOffCause::BackOff, "BackOff"),
        ] {
            assert_eq!(serde_json::to_value(cause).unwrap(), name, "as records have it");
        }
        for other in ["7", r#""tomorrow""#, r#"{"cause":"Moon","until":9}"#, "null"] {
            let mut read: History = serde_json::from_str(&format!(r#"{{"hold_off":{other}}}"#)).unwrap();
            assert_eq!(read.look_at_hold_off(UnixTime(0)), None, "{other}");
        }
    }
}
