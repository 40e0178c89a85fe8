//! Settings of the trial deadline: `TRIAL_DEADLINE`, and those of the health gate that it must leave
//! time for.

use std::time::Duration;

use super::setting::Place;
use super::sources::ConfigFiles;
use super::table;
use crate::host::Unreadable;

/// By when a slot on trial must be marked good, whether or not any daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialDeadlineSettings {
    /// `TRIAL_DEADLINE`, in seconds since the boot; none by default.
    pub trial: Option<Duration>,
    /// `HEALTH_DEADLINE`, in seconds since the daemon's first start; none if it is 0.
    pub health: Option<Duration>,
    /// `HEALTH_SETTLE`, in seconds, which may run out after `HEALTH_DEADLINE`.
    pub settle: Duration,
    /// `TRIAL_DEADLINE_WATCHDOG`: softdog by default.
    pub watchdog: WatchdogChoice,
}

/// Which watchdog may stand behind the trial deadline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WatchdogChoice {
    /// The kernel's own. Others' programs want hardware, and start later.
    #[default]
    Softdog,
    /// Hardware that is free, or else softdog.
    Hardware,
    /// No watchdog: the process alone ends a hang.
    Off,
}

/// Why a `TRIAL_DEADLINE` can't be used beside the settings of the health gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrialDeadlineFlaw {
    /// The health gate may take as long as it likes.
    #[error("HEALTH_DEADLINE is 0: no TRIAL_DEADLINE can be later")]
    NoHealthDeadline,
    /// The health gate may still wait.
    #[error(
        "TRIAL_DEADLINE={} is not later than HEALTH_DEADLINE and HEALTH_SETTLE together ({} s)",
        trial.as_secs(),
        gate.as_secs()
    )]
    TooEarly {
        /// `TRIAL_DEADLINE`.
        trial: Duration,
        /// The longest that the health gate may take after the daemon's start.
        gate: Duration,
    },
}

impl TrialDeadlineSettings {
    /// Reads these settings alone; `read` as for [`super::Config::load`].
    ///
    /// # Errors
    /// The first of the files that can't be read.
    pub fn load(read: impl Fn(&str) -> Result<Option<Vec<u8>>, Unreadable>) -> Result<Self, Unreadable> {
        Ok(Self::from_sources(&ConfigFiles::read(&[Place::Update], read)?))
    }

    pub(super) fn from_sources(sources: &ConfigFiles) -> Self {
        let seconds = |setting| Duration::from_secs(sources.number(setting));
        let unless_zero = |setting| Some(seconds(setting)).filter(|length| !length.is_zero());
        Self {
            trial: unless_zero(&table::TRIAL_DEADLINE),
            health: unless_zero(&table::HEALTH_DEADLINE),
            settle: seconds(&table::HEALTH_SETTLE),
            watchdog: match sources.find(&table::TRIAL_DEADLINE_WATCHDOG).value {
                "hardware" => WatchdogChoice::Hardware,
                "off" => WatchdogChoice::Off,
                _ => WatchdogChoice::Softdog,
            },
        }
    }

    /// The longest that the health gate may take after the daemon's first start; none if it may take
    /// as long as it likes.
    #[must_use]
    pub fn gate(&self) -> Option<Duration> {
        Some(self.health?.saturating_add(self.settle))
    }

    /// The deadline, if one is set.
    ///
    /// # Errors
    /// Why the one that is set can't be used.
    pub fn usable(&self) -> Result<Option<Duration>, TrialDeadlineFlaw> {
        let Some(trial) = self.trial else {
            return Ok(None);
        };
        let gate = self.gate().ok_or(TrialDeadlineFlaw::NoHealthDeadline)?;
        if trial <= gate {
            return Err(TrialDeadlineFlaw::TooEarly { trial, gate });
        }
        Ok(Some(trial))
    }

    /// What operators should know about what they wrote.
    pub(super) fn lint(&self) -> Option<String> {
        let flaw = self.usable().err()?;
        Some(format!("{flaw}; nothing ends a hang of a new slot"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn settings(trial: u64, health: u64, settle: u64) -> TrialDeadlineSettings {
        const fn some(seconds: u64) -> Option<Duration> {
            if seconds == 0 {
                None
            } else {
                Some(Duration::from_secs(seconds))
            }
        }
        TrialDeadlineSettings {
            trial: some(trial),
            health: some(health),
            settle: Duration::from_secs(settle),
            watchdog: WatchdogChoice::Softdog,
        }
    }

    #[test]
    fn a_deadline_counts_if_it_is_later_than_all_that_the_health_gate_may_take() {
        let (trial, gate) = (Duration::from_secs(645), Duration::from_secs(645));
        for (set, expected) in [
            (settings(0, 600, 45), Ok(None)),
            (settings(0, 0, 45), Ok(None)),
            (settings(646, 600, 45), Ok(Some(Duration::from_secs(646)))),
            (
                settings(645, 600, 45),
                Err(TrialDeadlineFlaw::TooEarly { trial, gate }),
            ),
            (settings(645, 0, 45), Err(TrialDeadlineFlaw::NoHealthDeadline)),
        ] {
            assert_eq!(set.usable(), expected, "{set:?}");
        }
    }
}
