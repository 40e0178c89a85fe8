//! The watch: observes the requirements until the trial ends.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::decision::{HealthDecision, HealthVerdict, NotHealthyYet};
use super::look::look;
use super::requirements::{Requirement, Unknown};
use super::{Cause, Units};
use crate::config::HealthSettings;

/// The longest wait between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);
/// The shortest, whatever the settling time.
const BREATH: Duration = Duration::from_millis(100);
/// Looks in a settling time that is shorter than so many of the longest waits.
const LOOKS: u32 = 5;

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialEnd {
    /// Health is established: the slot may be marked good.
    Passed,
    /// The deadline has passed; the slot is to be left.
    Failed(Cause),
}

/// Watches until health is established or the deadline has passed, which counts from the time
/// `already` before this call.
///
/// `required` is asked for before every look, and `tell` hears after each why health is not
/// established yet. While what is required can't be told, the trial goes on.
pub async fn watch<R>(
    units: &impl Units,
    required: impl Fn() -> R,
    already: Duration,
    tell: impl Fn(&NotHealthyYet),
) -> TrialEnd
where
    R: Future<Output = Result<(HealthSettings, Vec<Requirement>), Unknown>>,
{
    let began = Instant::now();
    let mut decision = HealthDecision::default();
    loop {
        let (settings, required) = match required().await {
            Ok(known) => known,
            Err(unknown) => {
                decision.hold(already + began.elapsed(), unknown);
                tell(decision.pending());
                sleep(BETWEEN_LOOKS).await;
                continue;
            }
        };
        let finding = look(units, &required).await;
        match decision.observe(already + began.elapsed(), finding, &settings) {
            HealthVerdict::Passed => return TrialEnd::Passed,
            HealthVerdict::Expired(cause) => return TrialEnd::Failed(cause),
            HealthVerdict::Wait => tell(decision.pending()),
        }
        sleep((settings.settle / LOOKS).clamp(BREATH, BETWEEN_LOOKS)).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;
    use std::future::ready;
    use std::sync::Mutex;

    use super::*;
    use crate::config::{RegressionMode, UnitName};
    use crate::systemd::{SystemdError, UnitState};

    /// Units that are active, but for the spans given.
    struct Scripted {
        began: Instant,
        down: Vec<(u64, u64)>,
        looks: Mutex<u32>,
    }

    impl Scripted {
        fn new(down: &[(u64, u64)]) -> Self {
            Self {
                began: Instant::now(),
                down: down.to_vec(),
                looks: Mutex::default(),
            }
        }
    }

    impl Units for Scripted {
        async fn state(&self, _name: &str) -> Result<UnitState, SystemdError> {
            *self.looks.lock().unwrap() += 1;
            let now = self.began.elapsed().as_secs();
            let is_down = self.down.iter().any(|(from, to)| (from..to).contains(&&now));
            let up_since = self.down.iter().filter(|(_, to)| *to <= now).count();
            Ok(UnitState {
                state: if is_down { "failed" } else { "active" }.to_owned(),
                active_since: up_since.try_into().unwrap(),
            })
        }

        async fn last_words(&self, _name: &str) -> String {
            "segmentation fault".to_owned()
        }
    }

    fn settings(deadline: u64) -> HealthSettings {
        HealthSettings {
            units: vec![UnitName::new("kubelet").unwrap()],
            no_units: vec![],
            settle: Duration::from_secs(45),
            deadline: Some(Duration::from_secs(deadline)),
            regressions: RegressionMode::default(),
            excused: vec![],
            no_excused: vec![],
        }
    }

    /// With their units as requirements.
    fn required(settings: HealthSettings) -> (HealthSettings, Vec<Requirement>) {
        let units = settings.units.iter().cloned();
        let required = units.map(Requirement::Unit).collect();
        (settings, required)
    }

    /// The end, after how many seconds, and the last reason told.
    async fn run(down: &[(u64, u64)], settings: HealthSettings) -> (TrialEnd, u64, String) {
        run_after(0, down, settings).await
    }

    /// The same where an earlier daemon has watched for so many seconds.
    async fn run_after(
        already: u64,
        down: &[(u64, u64)],
        settings: HealthSettings,
    ) -> (TrialEnd, u64, String) {
        let reason = RefCell::new(String::new());
        let began = Instant::now();
        let end = watch(
            &Scripted::new(down),
            || ready(Ok(required(settings.clone()))),
            Duration::from_secs(already),
            |pending| reason.replace(pending.to_string()).clear(),
        )
        .await;
        (end, began.elapsed().as_secs(), reason.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_required_is_healthy_45_seconds_after_the_start() {
        let nothing = HealthSettings {
            units: vec![],
            ..settings(600)
        };
        let (end, after, _) = run(&[], nothing).await;
        assert_eq!((end, after), (TrialEnd::Passed, 45));
    }

    #[tokio::test(start_paused = true)]
    async fn a_unit_that_comes_up_late_settles_from_then_on() {
        let (end, after, _) = run(&[(0, 100)], settings(600)).await;
        assert_eq!((end, after), (TrialEnd::Passed, 145));
    }

    #[tokio::test(start_paused = true)]
    async fn a_break_between_two_looks_counts() {
        let (end, after, _) = run(&[(41, 42)], settings(600)).await;
        assert_eq!((end, after), (TrialEnd::Passed, 90));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_names_the_unit_and_its_last_words() {
        let (end, after, reason) = run(&[(0, 10_000)], settings(600)).await;
        let TrialEnd::Failed(cause) = end else {
            panic!("passed")
        };
        assert_eq!(after, 600);
        assert_eq!(
            cause.to_string(),
            "unit kubelet.service is failed: segmentation fault"
        );
        assert_eq!(reason, cause.to_string());
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_earlier_daemon_has_watched_counts_for_the_deadline_and_not_for_the_settling_time() {
        let (end, after, _) = run_after(590, &[(0, 10_000)], settings(600)).await;
        assert!(matches!(end, TrialEnd::Failed(_)), "{end:?}");
        assert_eq!(after, 10);
        let (end, after, _) = run_after(590, &[], settings(600)).await;
        assert_eq!((end, after), (TrialEnd::Passed, 45));
    }

    #[tokio::test(start_paused = true)]
    async fn a_unit_that_flaps_never_settles() {
        let flaps: Vec<_> = (0..100).map(|n| (n * 20, n * 20 + 1)).collect();
        let (end, _, _) = run(&flaps, settings(600)).await;
        assert!(matches!(end, TrialEnd::Failed(_)), "{end:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_whose_requirements_can_not_be_told_is_held_until_they_can() {
        const HOUR: u64 = 3600;
        let unreadable = || Unknown::Unreadable {
            path: "/etc/flatcar/update.conf".into(),
            reason: "Input/output error".into(),
        };
        for down in [vec![], vec![(0, 10_000)]] {
            let (began, told) = (Instant::now(), RefCell::new(Vec::new()));
            let known = || match began.elapsed().as_secs() {
                0..HOUR => ready(Err(unreadable())),
                _ => ready(Ok(required(settings(600)))),
            };
            let tell = |pending: &NotHealthyYet| told.borrow_mut().push(pending.to_string());
            let end = watch(&Scripted::new(&down), known, Duration::ZERO, tell).await;
            assert_eq!(
                told.borrow()[0],
                "/etc/flatcar/update.conf can't be read: Input/output error"
            );
            let since = began.elapsed().as_secs() - HOUR;
            if down.is_empty() {
                assert_eq!((end, since), (TrialEnd::Passed, 45));
            } else {
                // The last look that knew nothing was one wait before.
                assert!(
                    matches!(end, TrialEnd::Failed(_)) && (595..=600).contains(&since),
                    "{since}"
                );
            }
        }
    }
}
