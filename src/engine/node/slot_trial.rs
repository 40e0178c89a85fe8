//! The trial of the running slot: watched, marked good, or left for the other one.
//!
//! ```text
//!   start ── not on trial ─▶ the settling time alone ─────▶ Passed ─▶ marked good
//!     │ on trial                                              ▲
//!     │                                                       │ what the version before had is there
//!     └─ health::watch ──┬────────────────────────────────────┘
//!                        └─ Failed, or lost ─▶ fall back: cause recorded ─▶ no try left ─▶ reboot
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::blocking::Blocking;
use super::machine::Machine;
use super::regression_gate::{DueLook, RegressionGate};
use super::slot_control::SlotControl;
use crate::config::HealthSettings;
use crate::disk::{DiskError, SlotAttributes};
use crate::engine::{Fallback, SlotError};
use crate::health::{self, Cause, NotHealthyYet, Requirement, TrialEnd, Unknown};
use crate::journal::{MessageId, chain};
use crate::reboot::reboot_now;
use crate::systemd::Systemd;
use crate::trial_deadline::disarm_or_warn;

/// The running slot's trial, as far as this process has followed it.
pub(super) struct SlotTrial {
    machine: Arc<Machine>,
    slots: Arc<SlotControl>,
    gate: Arc<RegressionGate>,
    memory: Mutex<TrialMemory>,
}

#[derive(Default)]
struct TrialMemory {
    state: TrialState,
    /// Why the running slot could not be marked good when that was last tried.
    not_marked: Option<String>,
}

/// The state of the trial, as far as it stands in the way of marking the running slot good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum TrialState {
    /// Nobody has looked yet.
    #[default]
    Begun,
    /// Not healthy yet, and why.
    Waiting(NotHealthyYet),
    /// Healthy for long enough.
    Passed,
    /// To be left for the other slot, and why.
    GivenUp(Cause),
}

impl TrialState {
    /// Why the slot can't be marked good now, if something requires more of it than to run.
    fn obstacle(&self) -> Option<String> {
        match self {
            Self::Begun => Some("its health was not looked at yet".to_owned()),
            Self::Waiting(pending) => Some(pending.summary()),
            Self::GivenUp(cause) => Some(cause.summary()),
            Self::Passed => None,
        }
    }
}

impl fmt::Display for TrialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun => f.write_str("begun"),
            Self::Waiting(pending) => pending.fmt(f),
            Self::Passed => f.write_str("passed"),
            Self::GivenUp(cause) => write!(f, "given up: {cause}"),
        }
    }
}

impl SlotTrial {
    pub(super) fn new(machine: &Arc<Machine>, slots: &Arc<SlotControl>, gate: &Arc<RegressionGate>) -> Self {
        Self {
            machine: Arc::clone(machine),
            slots: Arc::clone(slots),
            gate: Arc::clone(gate),
            memory: Mutex::default(),
        }
    }

    /// A disk that can't be read may hold a slot on trial: its health is watched. Marking it good
    /// will say what is wrong with the disk, unless it can be read by then.
    fn is_on_trial(&self) -> bool {
        let attributes = self
            .machine
            .disk()
            .and_then(|disk| disk.attributes(disk.running()));
        !attributes.is_ok_and(SlotAttributes::is_successful)
    }

    /// Counted from the first daemon of this boot: one that dies again and again must not put the
    /// deadline off.
    fn watched_already(&self) -> Duration {
        self.machine.host().since_first_start().unwrap_or_else(|error| {
            tracing::warn!("the deadline counts from now: {}", chain(&error));
            Duration::ZERO
        })
    }

    /// Once the requirements are readable the whole deadline counts, for later daemons too. Until
    /// then no deadline ends the trial, not even the one that needs no daemon.
    fn put_off_deadline(&self) {
        disarm_or_warn(self.machine.host());
        if let Err(error) = self.machine.host().start_anew() {
            tracing::warn!(
                "a later daemon's deadline counts from this boot's first: {}",
                chain(&error)
            );
        }
    }

    /// Makes the running slot good, or says why it stays on trial. A slot that was good before this
    /// boot needs no health: it is what others fall back to.
    fn mark_good_now(&self) -> Result<(), SlotError> {
        let marked = self.mark_good_if_healthy();
        let not_marked = marked.as_ref().err().map(ToString::to_string);
        self.memory(|memory| memory.not_marked = not_marked);
        marked.inspect_err(|reason| tracing::warn!("the running slot is not marked good: {reason}"))
    }

    fn mark_good_if_healthy(&self) -> Result<(), SlotError> {
        let io = |error: DiskError| SlotError::io(&error);
        let disk = self.machine.disk().map_err(io)?;
        let running = disk.attributes(disk.running()).map_err(io)?;
        if !running.is_successful() {
            if let Some(cause) = self.gate.take_cause() {
                return Err(SlotError::Lost(cause));
            }
            if let Some(obstacle) = self.obstacle() {
                return Err(SlotError::OnTrial(obstacle));
            }
        }
        self.slots.mark_running_good(&disk).map_err(io)
    }

    /// The same although it may not be healthy, because somebody wants it.
    pub(super) fn mark_good_anyway(&self) -> Result<(), SlotError> {
        let io = |error: DiskError| SlotError::io(&error);
        let disk = self.machine.disk().map_err(io)?;
        tracing::warn!("the running slot is marked good by order");
        self.slots.mark_running_good(&disk).map_err(io)?;
        self.memory(|memory| memory.not_marked = None);
        Ok(())
    }

    /// Why the running slot could not be marked good when that was last tried, if it couldn't.
    pub(super) fn not_marked(&self) -> Option<String> {
        self.memory(|memory| memory.not_marked.clone())
    }

    /// The look at what the version before had, if nothing else keeps the running slot from being
    /// marked good.
    fn due_look(&self) -> Option<DueLook> {
        let is_due = self.is_on_trial() && self.obstacle().is_none();
        is_due.then(|| self.gate.due())?
    }

    /// Why the running slot would not be marked good now if it isn't yet.
    pub(super) fn obstacle(&self) -> Option<String> {
        if let Some(lost) = self.gate.obstacle() {
            return Some(lost);
        }
        let state = self.memory(|memory| memory.state.clone());
        if matches!(state, TrialState::GivenUp(_) | TrialState::Passed) {
            return state.obstacle();
        }
        match self.requirements() {
            Ok(required) if required.is_empty() => None,
            Ok(_) => state.obstacle(),
            Err(unknown) => Some(unknown.to_string()),
        }
    }

    /// What is required of the running slot now.
    pub(super) fn requirements(&self) -> Result<Vec<Requirement>, Unknown> {
        self.required().map(|(_, required)| required)
    }

    /// The same, and under which settings.
    fn required(&self) -> Result<(HealthSettings, Vec<Requirement>), Unknown> {
        let settings = self.machine.health_settings()?;
        let required = health::requirements(&settings, self.machine.host())?;
        Ok((settings, required))
    }

    /// Seconds within which the running slot must be found healthy; 0 if no deadline ends its trial: it is set so, what is
    /// required can't be told, or the slot was given up and the node is still there.
    pub(super) fn health_deadline(&self) -> u64 {
        if self.memory(|memory| matches!(memory.state, TrialState::GivenUp(_))) {
            return 0;
        }
        let deadline = self.required().ok().and_then(|(settings, _)| settings.deadline);
        deadline.map_or(0, |deadline| deadline.as_secs())
    }

    fn enter(&self, state: TrialState) {
        self.memory(|memory| {
            if memory.state != state {
                tracing::info!("trial of the running slot: {state}");
                memory.state = state;
            }
        });
    }

    fn memory<T>(&self, look: impl FnOnce(&mut TrialMemory) -> T) -> T {
        // Plain values: a panic elsewhere cannot have left them half written.
        look(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Blocking<SlotTrial> {
    /// Makes the running slot good, or says why it stays on trial or is to be left. The first time
    /// that nothing else keeps it from being marked, what the version before had is looked for.
    pub(super) async fn mark_good(&self) -> Result<(), SlotError> {
        if let Some(due) = self.run(SlotTrial::due_look).await {
            let found = due.look(self.on_this_thread().machine.host()).await;
            self.run(move |trial| trial.gate.judge(due, found)).await;
        }
        self.run(SlotTrial::mark_good_now).await
    }

    /// Watches until the running slot is healthy, or not in time.
    pub(super) async fn watch(&self) -> TrialEnd {
        let was_given_up = self
            .run(|trial| trial.memory(|memory| matches!(memory.state, TrialState::GivenUp(_))))
            .await;
        let required = || {
            self.run(move |trial| {
                let (mut settings, required) = trial.required()?;
                settings.deadline = settings.deadline.filter(|_| !was_given_up);
                Ok((settings, required))
            })
        };
        // For what the journal is told of it.
        let _ = self.run(|trial| trial.machine.config().map(drop)).await;
        if self.run(SlotTrial::is_on_trial).await {
            let trial = self.on_this_thread();
            let note = |pending: &NotHealthyYet| {
                if matches!(pending, NotHealthyYet::Held(_)) {
                    trial.put_off_deadline();
                }
                trial.enter(TrialState::Waiting(pending.clone()));
            };
            let already = self.run(SlotTrial::watched_already).await;
            let end = health::watch(&Systemd, required, already, note).await;
            if let TrialEnd::Failed(cause) = end {
                self.give_up(cause.clone()).await;
                return TrialEnd::Failed(cause);
            }
        } else {
            let settings = self.run(|trial| trial.machine.health_settings()).await;
            let settle = settings.map_or(HealthSettings::SETTLE, |settings| settings.settle);
            tokio::time::sleep(settle).await;
        }
        self.run(|trial| trial.enter(TrialState::Passed)).await;
        TrialEnd::Passed
    }

    async fn give_up(&self, cause: Cause) {
        self.run(move |trial| {
            let disk = trial.machine.disk();
            let slot = disk.ok().map(|disk| disk.running().to_string());
            tracing::error!(
                MESSAGE_ID = MessageId::DeadlinePassed.id(),
                UPDATE_SLOT = slot,
                "the running slot is not healthy in time: {cause}"
            );
            trial.enter(TrialState::GivenUp(cause));
        })
        .await;
    }

    /// Leaves the running slot for the other one because of `cause`, if that boots.
    ///
    /// Order of writes, and what a cut between leaves behind:
    /// 1. the cause: the next start, in whichever slot, knows that this one was given up;
    /// 2. the last try (it is spent already, unless somebody gave the slot several): the loader
    ///    takes the other slot. Before this the slot might be tried once more, and would be watched
    ///    anew;
    /// 3. the reboot.
    pub(super) async fn fall_back(&self, cause: Cause) -> Fallback {
        let is_lost = matches!(cause, Cause::Lost { .. });
        let given_up = self.run(move |trial| trial.slots.give_up_running(&cause)).await;
        let fallback = match given_up {
            Ok(Some(fallback)) => fallback,
            Ok(None) => self.reboot().await,
            Err(error) => Fallback::Stays(format!("the slots can't be read or written: {}", chain(&error))),
        };
        if let Fallback::Stays(reason) = &fallback
            && is_lost
        {
            // It was looked at, and nobody is held by it.
            let reason = reason.clone();
            self.run(move |trial| trial.gate.stay(&reason)).await;
        }
        match &fallback {
            Fallback::Rebooting => {}
            Fallback::GoodAfterAll => {
                tracing::warn!("the running slot was marked good by somebody else; it stays");
            }
            Fallback::Stays(reason) => tracing::error!("the running slot is not left: {reason}"),
        }
        fallback
    }

    async fn reboot(&self) -> Fallback {
        tracing::error!("rebooting into the other slot");
        let host = self.on_this_thread().machine.host();
        match reboot_now(host).await {
            Ok(()) => Fallback::Rebooting,
            Err(error) => Fallback::Stays(format!(
                "the other slot boots next, but the reboot can't be asked for: {error}"
            )),
        }
    }
}
