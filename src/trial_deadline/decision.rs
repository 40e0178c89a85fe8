//! The decisions: whether a trial deadline is armed, and what becomes of one that has come. Pure.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::boot_partition::Kernel;
use super::daemon_start::DaemonStart;
use super::facts::{BothSlots, Facts, FactsError};
use super::watchdog::WATCHDOG_DELAY;
use crate::config::TrialDeadlineFlaw;
use crate::disk::{SlotAttributes, SlotName};
use crate::journal::chain;

/// Time after the deadline until the node is reset although disk or systemd give no answer.
const WELL_OVER: Duration = Duration::from_secs(60);
/// Time that an orderly reboot may take, from the end of what the health gate may take.
const ORDERLY_REBOOT: Duration = Duration::from_secs(60);

/// What is armed, or why nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArmDecision {
    /// A deadline is armed.
    Arm(Plan),
    /// Nothing is armed, for this reason.
    Nothing(NotArmed),
}

/// What is armed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Time from now until the node is reset.
    pub after: Duration,
    /// Node of the watchdog behind the process, or why there is none: a sentence, since it is told to
    /// a keeper of another version, too.
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
    /// It can't be told whether it has one.
    #[error("the kernel of the other slot is not known: {0}")]
    KernelUnknown(String),
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
    /// by itself, and a disk or a systemd that doesn't answer is what it was armed for.
    #[must_use]
    pub const fn disarms(&self) -> bool {
        !matches!(
            self,
            Self::KernelUnknown(_) | Self::DaemonUnknown(_) | Self::Passed { .. }
        )
    }
}

/// What becomes of an armed deadline that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The node is reset.
    Reset,
    /// The slot stays, for this reason.
    Stays(String),
    /// The health gate may still find it healthy, for so long.
    NotYet(Duration),
    /// Nothing can be told, and why: it is looked once more.
    LookAgain(String),
}

impl BothSlots {
    /// Whether the running slot is on trial, and the other one boots.
    pub(super) fn lead_back(&self) -> bool {
        self.require_way_back().is_ok()
    }

    /// Refuses where they don't.
    pub(super) fn require_way_back(&self) -> Result<(), NotArmed> {
        let (running, attributes) = self.running;
        if attributes.is_successful() {
            return Err(NotArmed::MarkedGood(running));
        }
        let (slot, attributes) = self.other;
        if attributes.is_good() {
            Ok(())
        } else {
            Err(NotArmed::NothingToGoBackTo { slot, attributes })
        }
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
    let deadline = require_boot_after(facts)?;
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
    let watchdog = facts.watchdog(after.saturating_add(WATCHDOG_DELAY));
    Ok(Plan {
        after,
        watchdog: watchdog.map_err(|none| none.to_string()),
    })
}

/// The deadline, if one counts and a reset would lead to the other slot.
fn require_boot_after(facts: &Facts) -> Result<Duration, NotArmed> {
    let deadline = facts.settings.usable()?.ok_or(NotArmed::Off)?;
    facts.slots.require_way_back()?;
    match &facts.kernel {
        Kernel::There => Ok(deadline),
        Kernel::Missing(missing) => Err(NotArmed::NoKernel(missing.clone())),
        Kernel::Unknown { why, .. } => Err(NotArmed::KernelUnknown(why.clone())),
        Kernel::NotLookedAt => Err(NotArmed::KernelUnknown("nobody has looked".to_owned())),
    }
}

/// What becomes of a deadline that came `overdue` ago, `up` after the boot: by what was found, and by
/// the table alone if only that answered.
///
/// It was armed where the other slot was good and had its kernel. Where nothing answers, nothing says
/// otherwise, and that nothing answers is the hang; but that may be a moment's, or this process' own.
/// An error is an answer: a disk that can't be read for it may boot neither slot.
pub(super) fn at_deadline(
    found: &Result<Option<Facts>, FactsError>,
    slots: Option<&BothSlots>,
    overdue: Duration,
    up: Duration,
) -> Verdict {
    if let Some(Err(reason)) = slots.map(BothSlots::require_way_back) {
        return Verdict::Stays(reason.to_string());
    }
    match found {
        Ok(None) => Verdict::Stays(NotArmed::Off.to_string()),
        Ok(Some(facts)) => of_facts(facts, overdue, up),
        Err(error) if overdue < WELL_OVER => Verdict::LookAgain(chain(error)),
        Err(error) if error.is_silence() => Verdict::Reset,
        Err(error) => Verdict::Stays(chain(error)),
    }
}

/// A daemon that was to start and didn't, or a systemd that doesn't answer, is what the deadline is
/// for.
fn of_facts(facts: &Facts, overdue: Duration, up: Duration) -> Verdict {
    match require_boot_after(facts) {
        Ok(_) => {}
        Err(reason @ NotArmed::KernelUnknown(_)) if overdue < WELL_OVER => {
            return Verdict::LookAgain(reason.to_string());
        }
        // As it was when the deadline was armed.
        Err(NotArmed::KernelUnknown(_)) if facts.kernel.is_silence() => {}
        Err(reason) => return Verdict::Stays(reason.to_string()),
    }
    match &facts.daemon {
        DaemonStart::NotMeant(why) => Verdict::Stays(NotArmed::NoDaemon(why.clone()).to_string()),
        DaemonStart::Meant | DaemonStart::NotStarted | DaemonStart::Unknown(_) => {
            still_watched(facts, overdue, up).map_or(Verdict::Reset, Verdict::NotYet)
        }
    }
}

/// For how long the health gate may still find the slot healthy, which counts from the daemon's first
/// start: that may have been late. No longer than if it had started at the deadline.
fn still_watched(facts: &Facts, overdue: Duration, up: Duration) -> Option<Duration> {
    let longest = facts.settings.gate()?.saturating_add(ORDERLY_REBOOT);
    let until = facts.daemon_started?.saturating_add(longest);
    let left = until.checked_sub(up)?.min(longest.checked_sub(overdue)?);
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use nix::errno::Errno;
    use slots::{Priority, Tries};

    use super::*;
    use crate::config::{TrialDeadlineSettings, WatchdogChoice};
    use crate::disk::DiskError;
    use crate::trial_deadline::systemd_watchdog::SystemdWatchdog;
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
                watchdog: WatchdogChoice::Hardware,
            },
            slots: BothSlots {
                running: (SlotName::B, tried()),
                other: (SlotName::A, good()),
            },
            kernel: Kernel::There,
            daemon: DaemonStart::Meant,
            daemon_started: None,
            watchdogs: Vec::new(),
            systemd: SystemdWatchdog::Unused,
        }
    }

    /// The verdict at the deadline, where all is found out.
    fn verdict(facts: &Facts) -> Verdict {
        after(facts, 0)
    }

    /// The same, so many seconds later.
    fn after(facts: &Facts, overdue: u64) -> Verdict {
        let (slots, found) = (facts.slots, Ok(Some(facts.clone())));
        let up = seconds(900 + overdue);
        at_deadline(&found, Some(&slots), seconds(overdue), up)
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
        assert_eq!(verdict(&on_trial()), Verdict::Reset);
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
                but(|facts| facts.slots.running.1 = good()),
                NotArmed::MarkedGood(SlotName::B),
            ),
            (
                but(|facts| facts.slots.other.1 = unbootable),
                NotArmed::NothingToGoBackTo {
                    slot: SlotName::A,
                    attributes: unbootable,
                },
            ),
            // Both on trial: nobody knows that either works.
            (
                but(|facts| facts.slots.other.1 = tried()),
                NotArmed::NothingToGoBackTo {
                    slot: SlotName::A,
                    attributes: tried(),
                },
            ),
            (
                but(|facts| facts.kernel = Kernel::Missing(no_kernel.clone())),
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
            assert_eq!(verdict(&facts), Verdict::Stays(reason.to_string()));
        }
    }

    #[test]
    fn what_may_be_a_hang_arms_nothing_and_leaves_what_is_armed() {
        let silent = "systemctl was ended after 10 s".to_owned();
        let unknown = but(|facts| facts.daemon = DaemonStart::Unknown(silent.clone()));
        let reason = NotArmed::DaemonUnknown(silent);
        assert_eq!(decide(&unknown, UP), ArmDecision::Nothing(reason.clone()));
        assert!(!reason.disarms());
        assert_eq!(verdict(&unknown), Verdict::Reset);
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
        assert_eq!(verdict(&never), Verdict::Reset);
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
        facts.watchdogs[0].longest = Some(seconds(896) + WATCHDOG_DELAY);
        assert_eq!(chosen(&facts).unwrap(), PathBuf::from("/dev/watchdog0"));
        facts.systemd = SystemdWatchdog::Number(0);
        assert!(chosen(&facts).unwrap_err().contains("RuntimeWatchdogSec"));
    }

    /// What became of it where only so much answered, so many seconds after the deadline.
    fn unanswered(error: FactsError, slots: Option<BothSlots>, overdue: u64) -> Verdict {
        at_deadline(
            &Err(error),
            slots.as_ref(),
            seconds(overdue),
            seconds(900 + overdue),
        )
    }

    #[test]
    fn what_does_not_answer_is_asked_again_and_is_the_hang_once_the_deadline_is_well_over() {
        let silent = || FactsError::TimedOut(20);
        let no_thread = || FactsError::Thread(std::io::ErrorKind::WouldBlock.into());
        let on_trial = Some(on_trial().slots);
        for slots in [None, on_trial] {
            assert!(matches!(unanswered(silent(), slots, 20), Verdict::LookAgain(_)));
            assert!(matches!(unanswered(no_thread(), slots, 0), Verdict::LookAgain(_)));
            assert_eq!(unanswered(silent(), slots, 60), Verdict::Reset);
            assert_eq!(unanswered(no_thread(), slots, 60), Verdict::Reset);
        }
    }

    #[test]
    fn a_table_that_answers_decides_although_nothing_else_does() {
        let mut slots = on_trial().slots;
        slots.running.1 = good();
        for overdue in [20, 60, 600] {
            let verdict = unanswered(FactsError::TimedOut(20), Some(slots), overdue);
            assert_eq!(verdict, Verdict::Stays("USR-B is marked good".to_owned()));
        }
    }

    #[test]
    fn an_error_is_an_answer_and_resets_nothing() {
        let unreadable = || {
            FactsError::Settings(crate::host::Unreadable {
                path: "/etc/flatcar/update.conf".to_owned(),
                source: std::io::ErrorKind::PermissionDenied.into(),
            })
        };
        let slots = Some(on_trial().slots);
        assert!(matches!(
            unanswered(unreadable(), slots, 5),
            Verdict::LookAgain(_)
        ));
        assert!(matches!(unanswered(unreadable(), slots, 60), Verdict::Stays(_)));
        let unknown = |is_silence| {
            let why = "an error".to_owned();
            but(|facts| facts.kernel = Kernel::Unknown { why, is_silence })
        };
        let kernel = unknown(false);
        assert!(matches!(after(&kernel, 0), Verdict::LookAgain(_)));
        assert!(matches!(after(&kernel, 60), Verdict::Stays(_)));
        let ArmDecision::Nothing(reason) = decide(&kernel, UP) else {
            panic!("armed without a known kernel");
        };
        assert!(!reason.disarms());
        let silent = unknown(true);
        assert!(matches!(after(&silent, 0), Verdict::LookAgain(_)));
        assert_eq!(after(&silent, 60), Verdict::Reset);
        assert!(matches!(decide(&silent, UP), ArmDecision::Nothing(_)));
    }

    #[test]
    fn a_machine_that_has_nothing_left_to_ask_with_hangs() {
        for errno in [Errno::ENOMEM, Errno::EMFILE, Errno::ENFILE] {
            let disk = || {
                FactsError::Disk(DiskError::Open {
                    path: "/dev/vda".into(),
                    source: errno.into(),
                })
            };
            let settings = || {
                FactsError::Settings(crate::host::Unreadable {
                    path: "/etc/flatcar/update.conf".to_owned(),
                    source: errno.into(),
                })
            };
            assert!(matches!(unanswered(disk(), None, 5), Verdict::LookAgain(_)));
            assert_eq!(unanswered(disk(), None, 60), Verdict::Reset, "{errno}");
            let on_trial = Some(on_trial().slots);
            assert_eq!(unanswered(settings(), on_trial, 60), Verdict::Reset, "{errno}");
        }
        let gone = FactsError::Disk(DiskError::Open {
            path: "/dev/vda".into(),
            source: Errno::ENXIO.into(),
        });
        assert!(matches!(unanswered(gone, None, 60), Verdict::Stays(_)));
    }

    #[test]
    fn a_daemon_that_started_late_has_the_whole_time_that_the_health_gate_may_take() {
        // 600 s and 45 s, and 60 s for the reboot that the daemon orders then.
        let late = but(|facts| facts.daemon_started = Some(seconds(400)));
        assert_eq!(verdict(&late), Verdict::NotYet(seconds(205)));
        assert_eq!(after(&late, 205), Verdict::Reset);
        let early = but(|facts| facts.daemon_started = Some(seconds(195)));
        assert_eq!(verdict(&early), Verdict::Reset);
        // A record that is made anew again and again puts nothing off for ever.
        let anew = |overdue: u64| but(|facts| facts.daemon_started = Some(seconds(900 + overdue)));
        assert_eq!(after(&anew(700), 700), Verdict::NotYet(seconds(5)));
        assert_eq!(after(&anew(705), 705), Verdict::Reset);
    }
}
