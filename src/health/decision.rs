//! The health decision: a pure function of what was observed and when.

use std::fmt;
use std::time::Duration;

use super::{Cause, Unknown};
use crate::config::HealthSettings;

/// The finding of one look at all requirements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// All requirements are met.
    Healthy(Incarnation),
    /// A requirement is not met.
    Unhealthy(Cause),
}

/// When each required unit last became active, in microseconds since the boot: another value than
/// at the last look means that the unit stopped in between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incarnation(pub Vec<(String, u64)>);

/// The verdict after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthVerdict {
    /// Not decided yet: look again.
    Wait,
    /// Health is established.
    Passed,
    /// The deadline has passed, and this requirement is still not met.
    Expired(Cause),
}

/// The reason for which health is not established yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NotHealthyYet {
    /// No look has ended yet.
    #[default]
    Unseen,
    /// A requirement is not met.
    Unhealthy(Cause),
    /// The requirements can't be read. That ends only when they can, or when an operator marks the
    /// slot good.
    Held(Unknown),
    /// All requirements are met, but not for long enough.
    Settling {
        /// Seconds for which they have been met.
        held: u64,
        /// Seconds for which they must be met: the settling time.
        of: u64,
    },
}

impl NotHealthyYet {
    /// The reason without the output of units and checks.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Unseen => "nobody has looked yet".to_owned(),
            Self::Unhealthy(cause) => cause.summary(),
            Self::Held(unknown) => unknown.to_string(),
            Self::Settling { held, of } => format!("healthy for {held} s of the {of} s that count"),
        }
    }
}

impl fmt::Display for NotHealthyYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unhealthy(cause) => cause.fmt(f),
            other => f.write_str(&other.summary()),
        }
    }
}

/// The health decision, fed with one finding after another.
#[derive(Debug, Default)]
pub struct HealthDecision {
    holding: Option<Holding>,
    pending: NotHealthyYet,
    /// From when on the deadline counts.
    deadline_from: Duration,
}

#[derive(Debug)]
struct Holding {
    since: Duration,
    incarnation: Incarnation,
}

impl HealthDecision {
    /// Takes in what a look found that ended at `now`, counted from the start of the trial.
    ///
    /// A node that is healthy when the deadline passes gets to finish its settling time; one break
    /// in it, and the deadline has passed.
    pub fn observe(&mut self, now: Duration, finding: Finding, settings: &HealthSettings) -> HealthVerdict {
        match finding {
            Finding::Healthy(incarnation) => self.healthy(now, incarnation, settings.settle),
            Finding::Unhealthy(cause) => {
                self.holding = None;
                self.pending = NotHealthyYet::Unhealthy(cause.clone());
                let passed = now.saturating_sub(self.deadline_from);
                match settings.deadline {
                    Some(deadline) if passed >= deadline => HealthVerdict::Expired(cause),
                    _ => HealthVerdict::Wait,
                }
            }
        }
    }

    /// Takes in that the requirements could not be read at `now`. Settling time and deadline begin
    /// anew once they can.
    pub fn hold(&mut self, now: Duration, unknown: Unknown) {
        self.holding = None;
        self.deadline_from = now;
        self.pending = NotHealthyYet::Held(unknown);
    }

    fn healthy(&mut self, now: Duration, incarnation: Incarnation, settle: Duration) -> HealthVerdict {
        let since = match &self.holding {
            Some(holding) if holding.incarnation == incarnation => holding.since,
            _ => now,
        };
        self.holding = Some(Holding { since, incarnation });
        let held = now.saturating_sub(since);
        if held >= settle {
            return HealthVerdict::Passed;
        }
        self.pending = NotHealthyYet::Settling {
            held: held.as_secs(),
            of: settle.as_secs(),
        };
        HealthVerdict::Wait
    }

    /// The reason for which health is not established yet.
    #[must_use]
    pub const fn pending(&self) -> &NotHealthyYet {
        &self.pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{RegressionMode, UnitName};

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn settings() -> HealthSettings {
        HealthSettings {
            units: vec![UnitName::new("a.service").unwrap()],
            no_units: vec![],
            settle: seconds(45),
            deadline: Some(seconds(600)),
            regressions: RegressionMode::default(),
            excused: vec![],
            no_excused: vec![],
        }
    }

    fn up(since: u64) -> Finding {
        Finding::Healthy(Incarnation(vec![("a.service".into(), since)]))
    }

    fn down() -> Finding {
        Finding::Unhealthy(cause())
    }

    fn cause() -> Cause {
        Cause::Systemd {
            reason: "because".into(),
        }
    }

    /// The verdicts of looks at the given times.
    fn watch(looks: impl IntoIterator<Item = (u64, Finding)>) -> Vec<HealthVerdict> {
        let mut decision = HealthDecision::default();
        looks
            .into_iter()
            .map(|(at, finding)| decision.observe(seconds(at), finding, &settings()))
            .collect()
    }

    #[test]
    fn what_holds_for_the_settling_time_is_healthy() {
        use HealthVerdict::{Passed, Wait};
        assert_eq!(
            watch([(0, up(1)), (44, up(1)), (45, up(1))]),
            [Wait, Wait, Passed]
        );
    }

    #[test]
    fn a_break_starts_the_settling_time_anew() {
        use HealthVerdict::{Passed, Wait};
        let looks = [(0, up(1)), (40, down()), (44, up(1)), (88, up(1)), (89, up(1))];
        assert_eq!(watch(looks), [Wait, Wait, Wait, Wait, Passed]);
    }

    #[test]
    fn a_unit_that_was_restarted_between_two_looks_has_not_held() {
        use HealthVerdict::{Passed, Wait};
        let looks = [(0, up(1)), (40, up(2)), (50, up(2)), (85, up(2))];
        assert_eq!(watch(looks), [Wait, Wait, Wait, Passed]);
    }

    #[test]
    fn the_deadline_ends_what_is_not_healthy_and_lets_the_rest_settle() {
        use HealthVerdict::{Expired, Passed, Wait};
        assert_eq!(watch([(599, down()), (600, down())]), [Wait, Expired(cause())]);
        assert_eq!(
            watch([(590, up(1)), (610, up(1)), (635, up(1))]),
            [Wait, Wait, Passed]
        );
        assert_eq!(watch([(590, up(1)), (610, down())]), [Wait, Expired(cause())]);
    }

    #[test]
    fn what_nobody_knows_ends_by_no_deadline_and_takes_none_of_it() {
        let mut decision = HealthDecision::default();
        let unknown = || Unknown::NoUnit("a/b".into());
        assert_eq!(
            decision.observe(seconds(599), up(1), &settings()),
            HealthVerdict::Wait
        );
        for now in [600, 1_000, 100_000] {
            decision.hold(seconds(now), unknown());
            assert_eq!(decision.pending(), &NotHealthyYet::Held(unknown()));
        }
        assert_eq!(
            decision.observe(seconds(100_001), up(1), &settings()),
            HealthVerdict::Wait
        );
        assert_eq!(
            decision.observe(seconds(100_599), down(), &settings()),
            HealthVerdict::Wait
        );
        assert_eq!(
            decision.observe(seconds(100_600), down(), &settings()),
            HealthVerdict::Expired(cause())
        );
    }

    #[test]
    fn without_a_deadline_it_takes_as_long_as_it_takes() {
        let patient = HealthSettings {
            deadline: None,
            ..settings()
        };
        let verdict = HealthDecision::default().observe(seconds(1 << 40), down(), &patient);
        assert_eq!(verdict, HealthVerdict::Wait);
    }

    proptest! {
        /// Whatever happens: a pass is preceded by a whole settling time in which every look found
        /// the same.
        #[test]
        fn nothing_passes_that_did_not_hold(
            steps in proptest::collection::vec((1_u64..20, 0_u64..8), 1..200)
        ) {
            let mut decision = HealthDecision::default();
            let (mut now, mut seen) = (0, Vec::new());
            for (wait, what) in steps {
                now += wait;
                let finding = if what == 0 { down() } else { up(what / 7) };
                seen.push((now, finding.clone()));
                if decision.observe(seconds(now), finding.clone(), &settings()) == HealthVerdict::Passed {
                    let held = seen.iter().rev().take_while(|(_, other)| *other == finding);
                    let since = held.last().unwrap().0;
                    prop_assert!(now - since >= 45, "held from {since} to {now}");
                    return Ok(());
                }
            }
        }
    }
}
