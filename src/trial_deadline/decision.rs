//! The decision whether a trial deadline is armed, and whether it may still reset. Pure.

use std::path::PathBuf;
use std::time::Duration;

use super::daemon_start::DaemonStart;
use super::facts::Facts;
use super::keeper::WATCHDOG_DELAY;
use super::watchdog;
use crate::config::TrialDeadlineFlaw;
use crate::disk::{SlotAttributes, SlotName};

/// What is armed, or why nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArmDecision {
    /// A deadline is armed.
    Arm(Plan),
    /// Nothing is armed, for this reason.
    Nothing(NotArmed),
}

/// What is armed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Time from now until the node is reset.
    pub after: Duration,
    /// Node of the watchdog behind the process, or why there is none.
    pub watchdog: Result<PathBuf, String>,
}

/// Why nothing is armed, or nothing resets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotArmed {
    /// `TRIAL_DEADLINE` is 0.
    #[error("TRIAL_DEADLINE is not set")]
    Off,
    /// It can't be used.
    #[error(transparent)]
    Flawed(#[from] TrialDeadlineFlaw),
    /// The running slot is marked good.
    #[error("{0} is marked good")]
    MarkedGood(SlotName),
    /// The other slot isn't good.
    #[error("{slot} is not good ({attributes}): there is nothing to go back to")]
    NothingToGoBackTo {
        /// The other slot.
        slot: SlotName,
        /// Its attributes.
        attributes: SlotAttributes,
    },
    /// The other slot has no kernel, in a sentence.
    #[error("{0}: there is nothing to go back to")]
    NoKernel(String),
    /// Nobody would mark the slot good.
    #[error("the daemon is not to run: {0}")]
    NoDaemon(String),
    /// Nothing has started it, or will.
    #[error("nothing starts update-engine.service in this boot")]
    NotStarted,
    /// It can't be told whether somebody would.
    #[error("it is not known whether the daemon is to run: {0}")]
    DaemonUnknown(String),
    /// The deadline lies in the past.
    #[error("the deadline was {} s after the boot, which is {} s ago", deadline.as_secs(), up.as_secs())]
    Passed {
        /// Since the boot.
        deadline: Duration,
        /// How long ago the boot was.
        up: Duration,
    },
}

impl NotArmed {
    /// Whether an armed deadline is disarmed for this reason. One that was armed and has passed ends
    /// by itself, and a systemd that doesn't answer is what it was armed for.
    #[must_use]
    pub const fn disarms(&self) -> bool {
        !matches!(self, Self::DaemonUnknown(_) | Self::Passed { .. })
    }
}

/// Whether a deadline is armed, `up` after the boot.
#[must_use]
pub fn decide(facts: &Facts, up: Duration) -> ArmDecision {
    match plan(facts, up) {
        Ok(plan) => ArmDecision::Arm(plan),
        Err(reason) => ArmDecision::Nothing(reason),
    }
}

fn plan(facts: &Facts, up: Duration) -> Result<Plan, NotArmed> {
    let deadline = facts.settings.usable()?.ok_or(NotArmed::Off)?;
    require_way_back(facts)?;
    match &facts.daemon {
        DaemonStart::Meant => {}
        DaemonStart::NotMeant(why) => return Err(NotArmed::NoDaemon(why.clone())),
        DaemonStart::NotStarted => return Err(NotArmed::NotStarted),
        DaemonStart::Unknown(why) => return Err(NotArmed::DaemonUnknown(why.clone())),
    }
    let after = deadline
        .checked_sub(up)
        .filter(|left| !left.is_zero())
        .ok_or(NotArmed::Passed { deadline, up })?;
    let least = after.saturating_add(WATCHDOG_DELAY);
    let watchdog = watchdog::choose(&facts.watchdogs, least, facts.systemd_feeds_first);
    Ok(Plan { after, watchdog })
}

/// Why an armed deadline that has come does not reset, if it doesn't. A daemon that was to start and
/// didn't, or a systemd that doesn't answer, is what the deadline is for.
pub(super) fn stays(facts: &Facts) -> Option<NotArmed> {
    let reason = facts
        .settings
        .usable()
        .map_err(NotArmed::from)
        .and_then(|deadline| {
            deadline.ok_or(NotArmed::Off)?;
            require_way_back(facts)?;
            match &facts.daemon {
                DaemonStart::NotMeant(why) => Err(NotArmed::NoDaemon(why.clone())),
                DaemonStart::Meant | DaemonStart::NotStarted | DaemonStart::Unknown(_) => Ok(()),
            }
        });
    reason.err()
}

/// Refuses unless the running slot is on trial, and the other one boots.
fn require_way_back(facts: &Facts) -> Result<(), NotArmed> {
    let (running, attributes) = facts.running;
    if attributes.is_successful() {
        return Err(NotArmed::MarkedGood(running));
    }
    let (slot, attributes) = facts.other;
    if !attributes.is_good() {
        return Err(NotArmed::NothingToGoBackTo { slot, attributes });
    }
    match &facts.missing_kernel {
        Some(missing) => Err(NotArmed::NoKernel(missing.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use slots::{Priority, Tries};

    use super::*;
    use crate::config::TrialDeadlineSettings;
    use crate::trial_deadline::watchdog::WatchdogFacts;

    const UP: Duration = Duration::from_secs(4);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn good() -> SlotAttributes {
        let first = SlotAttributes::from_word(0);
        first.marked_good().with_priority(Priority::new(1).unwrap())
    }

    fn tried() -> SlotAttributes {
        let second = SlotAttributes::from_word(0).on_trial(Tries::NONE);
        second.with_priority(Priority::new(2).unwrap())
    }

    /// A slot on trial, all of which speaks for a deadline.
    fn on_trial() -> Facts {
        Facts {
            settings: TrialDeadlineSettings {
                trial: Some(seconds(900)),
                health: Some(seconds(600)),
                settle: seconds(45),
            },
            running: (SlotName::B, tried()),
            other: (SlotName::A, good()),
            missing_kernel: None,
            daemon: DaemonStart::Meant,
            watchdogs: Vec::new(),
            systemd_feeds_first: false,
        }
    }

    fn but(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = on_trial();
        change(&mut facts);
        facts
    }

    #[test]
    fn a_slot_on_trial_is_armed_for_the_rest_of_the_time_since_the_boot() {
        let ArmDecision::Arm(plan) = decide(&on_trial(), UP) else {
            panic!("nothing is armed");
        };
        assert_eq!(plan.after, seconds(896));
        assert_eq!(stays(&on_trial()), None);
    }

    #[test]
    fn nothing_is_armed_where_a_reset_would_help_nobody() {
        let unbootable = SlotAttributes::from_word(0);
        let no_kernel = "USR-A has no kernel at /boot/flatcar/vmlinuz-a".to_owned();
        let masked = "update-engine.service is masked".to_owned();
        let cases = [
            (but(|facts| facts.settings.trial = None), NotArmed::Off),
            (
                but(|facts| facts.settings.health = None),
                TrialDeadlineFlaw::NoHealthDeadline.into(),
            ),
            (
                but(|facts| facts.settings.health = Some(seconds(855))),
                NotArmed::Flawed(TrialDeadlineFlaw::TooEarly {
                    trial: seconds(900),
                    gate: seconds(900),
                }),
            ),
            // A slot that was good before this boot, or was marked good by hand meanwhile.
            (
                but(|facts| facts.running.1 = good()),
                NotArmed::MarkedGood(SlotName::B),
            ),
            (
                but(|facts| facts.other.1 = unbootable),
                NotArmed::NothingToGoBackTo {
                    slot: SlotName::A,
                    attributes: unbootable,
                },
            ),
            // Both on trial: nobody knows that either works.
            (
                but(|facts| facts.other.1 = tried()),
                NotArmed::NothingToGoBackTo {
                    slot: SlotName::A,
                    attributes: tried(),
                },
            ),
            (
                but(|facts| facts.missing_kernel = Some(no_kernel.clone())),
                NotArmed::NoKernel(no_kernel.clone()),
            ),
            (
                but(|facts| facts.daemon = DaemonStart::NotMeant(masked.clone())),
                NotArmed::NoDaemon(masked.clone()),
            ),
        ];
        for (facts, reason) in cases {
            assert_eq!(
                decide(&facts, UP),
                ArmDecision::Nothing(reason.clone()),
                "{facts:?}"
            );
            assert!(reason.disarms(), "{reason}");
            // And what was armed before doesn't reset.
            assert_eq!(stays(&facts), Some(reason));
        }
    }

    #[test]
    fn what_may_be_a_hang_arms_nothing_and_leaves_what_is_armed() {
        let silent = "systemctl was ended after 10 s".to_owned();
        let unknown = but(|facts| facts.daemon = DaemonStart::Unknown(silent.clone()));
        let reason = NotArmed::DaemonUnknown(silent);
        assert_eq!(decide(&unknown, UP), ArmDecision::Nothing(reason.clone()));
        assert!(!reason.disarms());
        assert_eq!(stays(&unknown), None);
        let late = NotArmed::Passed {
            deadline: seconds(900),
            up: seconds(900),
        };
        assert_eq!(
            decide(&on_trial(), seconds(900)),
            ArmDecision::Nothing(late.clone())
        );
        assert!(!late.disarms());
    }

    #[test]
    fn a_daemon_that_nothing_starts_arms_nothing_and_one_that_was_to_start_and_did_not_is_a_hang() {
        let never = but(|facts| facts.daemon = DaemonStart::NotStarted);
        assert_eq!(decide(&never, UP), ArmDecision::Nothing(NotArmed::NotStarted));
        assert!(NotArmed::NotStarted.disarms());
        assert_eq!(stays(&never), None);
    }

    #[test]
    fn a_watchdog_stands_behind_the_process_for_longer_than_that_takes() {
        let watchdog = WatchdogFacts {
            number: 0,
            identity: "iTCO_wdt".to_owned(),
            is_open: false,
            longest: Some(seconds(900)),
            can_be_stopped: true,
        };
        let mut facts = but(|facts| facts.watchdogs = vec![watchdog]);
        let chosen = |facts: &Facts| match decide(facts, UP) {
            ArmDecision::Arm(plan) => plan.watchdog,
            ArmDecision::Nothing(reason) => panic!("{reason}"),
        };
        assert!(chosen(&facts).unwrap_err().contains("at most 900 s"));
        facts.watchdogs[0].longest = Some(seconds(896 + 60));
        assert_eq!(chosen(&facts).unwrap(), PathBuf::from("/dev/watchdog0"));
        facts.systemd_feeds_first = true;
        assert!(chosen(&facts).unwrap_err().contains("RuntimeWatchdogSec"));
    }
}
