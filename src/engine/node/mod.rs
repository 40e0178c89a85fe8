//! The real world behind the engine: this machine's files, disk, network and clock.
//!
//! ```text
//!   Updater's methods ─┬─ check, revisit, report ─── OmahaSession ──── CheckRecords ─ OfferPolicy, CheckHoldOff
//!                      ├─ prepare, download, finish ─ UpdateRunner ─── the installer's phases
//!                      │                                  └─ AttemptObserver: preferences, records, counters, journal
//!                      ├─ preview ─────────────────── Previewer        an offer and its preflight; changes nothing
//!                      ├─ watch_trial, mark_good, ─── SlotTrial ─┐
//!                      │  fall_back                              ▼
//!                      ├─ withdraw, roll_back ─────── SlotControl      the partition table, with its records
//!                      ├─ confirm, activate, unstage ─ StagedSlot      a staged update: its record, the hold, activation
//!                      ├─ remember_pending, forget ── PendingReboot    the marker and the request for a reboot
//!                      ├─ node_facts ──────────────── NodeReporter     what the bus shows of slots and rollbacks
//!                      └─ until_next_check ────────── CheckSchedule
//!
//!   records:  UpdateHistory   what became of updates, and which payloads are blocked
//!             AttemptHistory  what was tried when, and how it ended
//!             PayloadPrefs    the original's preferences about the payload on offer
//!   Machine:  configuration, preferences, disk and kernels, read anew at each use
//!   Parts:    puts all of these together
//! ```
//!
//! Configuration, keys and identity are read for each use: operators edit and bind-mount them while
//! the daemon runs. What blocks is behind [`Blocking`](blocking::Blocking), and runs on threads of
//! its own.

mod attempt_history;
mod attempt_observer;
mod baseline_keeper;
mod blocking;
mod check_records;
mod check_schedule;
mod clock;
mod gate_records;
mod hang_record;
mod hold_off;
mod machine;
mod node_reporter;
mod offer_policy;
mod omaha_session;
mod parts;
mod payload_prefs;
mod pending_reboot;
mod preview;
mod regression_gate;
mod slot_control;
mod slot_trial;
mod staged_slot;
mod update_history;
mod update_runner;
mod withdrawable_slots;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use attempt_observer::AttemptObserver;
use baseline_keeper::BaselineKeeper;
use blocking::Blocking;
use check_schedule::CheckSchedule;
use clock::{ClockSignal, NotedTimes};
pub use hang_record::{HangHistoryError, record_hang, withdraw_hang};
pub use machine::{DiskChoice, Settings};
use machine::{Machine, fresh_seed, unix_time};
use node_reporter::NodeReporter;
use omaha_session::OmahaSession;
use parts::Parts;
use pending_reboot::PendingReboot;
use preview::Previewer;
use slot_control::SlotControl;
use slot_trial::SlotTrial;
pub use staged_slot::ActivationError;
use staged_slot::StagedSlot;
pub use update_history::RememberError;
use update_history::UpdateHistory;
use update_runner::UpdateRunner;

use super::updater::{Checked, Progress, Updater};
use super::{
    AttemptContext, CancelSignal, Commitment, Failure, Fallback, NodeFacts, Report, SlotError,
    StagedReadiness, State, Unconfirmed,
};
use crate::config::Activation;
use crate::health::{Cause, TrialEnd};
use crate::host::{NodeMode, since_boot};
use crate::install::{Downloaded, Ready};
use crate::journal::{AttemptFields, chain};
use crate::plan::InstallPlan;
use crate::policy::{ActivatedBy, ClockStep};
use crate::status::{OfferSource, Preview, Trigger};

/// This machine, as the engine has things done on it.
pub struct Node {
    machine: Blocking<Machine>,
    history: Blocking<UpdateHistory>,
    schedule: Arc<CheckSchedule>,
    observer: Blocking<AttemptObserver>,
    session: OmahaSession,
    runner: UpdateRunner,
    previewer: Previewer,
    trial: Blocking<SlotTrial>,
    slots: Blocking<SlotControl>,
    staged: Blocking<StagedSlot>,
    pending_reboot: Blocking<PendingReboot>,
    reporter: Blocking<NodeReporter>,
    /// Signals that the wall clock was set.
    clock: ClockSignal,
    times: Blocking<NotedTimes>,
    baseline: Blocking<BaselineKeeper>,
}

impl Node {
    /// The machine that `settings` describe; the journal shares `fields`. Looks at nothing yet.
    #[must_use]
    pub fn new(settings: Settings, fields: AttemptFields) -> Self {
        let parts = Parts::new(settings);
        let observer = Blocking::of(parts.observer(fields));
        let session = OmahaSession::new(parts.check_records(), &observer, &parts.schedule);
        let runner = UpdateRunner::new(parts.workplace(), &parts.history, &observer);
        Self {
            previewer: Previewer::new(&session, &runner, parts.preview_records()),
            session,
            runner,
            observer,
            pending_reboot: Blocking::of(parts.pending_reboot()),
            reporter: Blocking::of(parts.reporter()),
            times: Blocking::of(parts.noted_times()),
            baseline: Blocking::of(parts.baseline_keeper()),
            machine: Blocking::new(&parts.machine),
            history: Blocking::new(&parts.history),
            trial: Blocking::new(&parts.trial),
            slots: Blocking::new(&parts.slots),
            staged: Blocking::new(&parts.staged),
            schedule: parts.schedule,
            clock: ClockSignal::default(),
        }
    }

    /// Where the engine starts on this machine: idle, or waiting for a reboot that an earlier
    /// process prepared. Notices a rollback. Blocks: the daemon has not begun to serve.
    #[must_use]
    pub fn initial_state(&self) -> State {
        self.pending_reboot.on_this_thread().initial_state()
    }

    /// Records what is well while a good slot runs, until `stop` and once more then.
    pub async fn keep_baseline(&self, stop: &CancellationToken) {
        self.baseline.keep(stop).await;
    }

    /// The daemon was asked to end: if the machine is shut down while the running slot is on trial,
    /// that blames nobody. Blocks: the daemon serves no more.
    pub fn end_orderly(&self) {
        self.history.on_this_thread().note_orderly_end();
    }
}

/// Makes the staged update of the machine that `settings` describe the next to boot, as an orderly
/// reboot does. Blocks, for three seconds at most unless the disk hangs.
///
/// # Errors
/// [`ActivationError`]; the old version boots.
pub fn activate_at_reboot(settings: Settings) -> Result<(), ActivationError> {
    let staged = StagedSlot::new(&Arc::new(Machine::new(settings)));
    staged.activate(ActivatedBy::Reboot)
}

impl Updater for Node {
    type Plan = InstallPlan;
    type Ready = Ready;
    type Downloaded = Downloaded;

    fn now(&self) -> i64 {
        unix_time().0
    }

    fn steady(&self) -> Duration {
        since_boot()
    }

    async fn clock_was_set(&self) {
        self.clock.was_set().await;
    }

    async fn clock_stepped(&self, step: ClockStep) {
        self.times.run(move |times| times.correct(&step)).await;
    }

    fn until_next_check(&self) -> Option<Duration> {
        // Where nobody knows, the check says so.
        if matches!(
            self.machine.on_this_thread().host().mode(),
            Ok(NodeMode::Developer)
        ) {
            tracing::info!("a developer's machine: no periodic checks");
            return None;
        }
        Some(self.schedule.next_delay(fresh_seed()))
    }

    fn next_check_reason(&self) -> String {
        match self.machine.on_this_thread().host().mode() {
            Ok(NodeMode::Developer) => {
                "a developer's machine (/root/.dev_mode): no periodic checks".to_owned()
            }
            Ok(NodeMode::Production) | Err(_) => self.schedule.reason(),
        }
    }

    async fn node_facts(&self) -> NodeFacts {
        self.reporter.run(NodeReporter::facts).await
    }

    async fn watch_trial(&self) -> TrialEnd {
        self.trial.watch().await
    }

    async fn fall_back(&self, cause: Cause) -> Fallback {
        self.trial.fall_back(cause).await
    }

    async fn mark_good(&self) -> Result<(), SlotError> {
        self.trial.mark_good().await
    }

    async fn mark_good_anyway(&self) -> Result<(), SlotError> {
        self.trial.run(SlotTrial::mark_good_anyway).await
    }

    async fn roll_back(&self) -> Result<String, SlotError> {
        let rolled_back = self.slots.run(SlotControl::roll_back).await;
        rolled_back
            .map_err(SlotError::from)
            .inspect_err(|error| tracing::error!("no rollback: {error}"))
    }

    async fn preview(&self, source: OfferSource) -> Preview {
        self.previewer.preview(source).await
    }

    async fn check(&self, trigger: Trigger) -> Checked<InstallPlan> {
        self.session.check(trigger).await
    }

    async fn revisit(&self, trigger: Trigger) -> Option<Checked<InstallPlan>> {
        self.session.revisit(trigger).await
    }

    async fn report(&self, attempt: &AttemptContext, report: &Report) {
        if let Report::Failed(failure) = report {
            let (context, failure) = (attempt.clone(), failure.clone());
            self.observer
                .run(move |observer| observer.failed(&context, &failure))
                .await;
        }
        let is_complete = *report == Report::Complete;
        let is_told = if is_complete {
            self.staged.run(StagedSlot::is_told_as_failed).await
        } else {
            Ok(false)
        };
        match is_told {
            Ok(is_told) => {
                if !is_told {
                    self.session.send_event(attempt, report).await;
                }
                if is_complete {
                    self.staged.run(StagedSlot::forget).await;
                }
            }
            // The record stays: the new version tells the server.
            Err(error) => tracing::warn!("what the server has heard is not known: {}", chain(&error)),
        }
        if matches!(report, Report::Complete | Report::Failed(_)) {
            self.observer.run(AttemptObserver::reported).await;
        }
    }

    async fn prepare(&self, attempt: &mut AttemptContext, plan: InstallPlan) -> Result<Ready, Failure> {
        self.runner.prepare(attempt, plan).await
    }

    async fn download(
        &self,
        attempt: &mut AttemptContext,
        ready: Ready,
        progress: watch::Sender<Progress>,
        cancel: CancelSignal,
    ) -> Result<Downloaded, Failure> {
        self.runner.download(attempt, ready, progress, &cancel).await
    }

    async fn finish(
        &self,
        attempt: &mut AttemptContext,
        downloaded: Downloaded,
        cancel: CancelSignal,
    ) -> Result<Commitment, Failure> {
        self.runner.finish(attempt, downloaded, &cancel).await
    }

    async fn confirm(&self, cancel: CancelSignal) -> Result<StagedReadiness, Unconfirmed> {
        let mut confirmed = self
            .staged
            .run(move |staged| staged.confirm(cancel.token()))
            .await;
        match &mut confirmed {
            Ok(readiness) if readiness.activation == Activation::Reboot => {
                if let Err(error) = self.staged.on_this_thread().arm().await {
                    let why = chain(&error);
                    tracing::error!("what is staged: {why}");
                    readiness.obstacle = Some(why);
                }
            }
            Ok(_) | Err(Unconfirmed::Activated | Unconfirmed::Runs) => {}
            Err(Unconfirmed::Void(failure)) => {
                tracing::error!("nothing is staged any more: {}", failure.reason());
                // Logged there; it is found void again after a restart.
                let _ = self.unstage().await;
            }
            Err(Unconfirmed::NotNow(why)) => tracing::warn!("what is staged can't be activated: {why}"),
        }
        confirmed
    }

    async fn activate(&self) -> Result<(), SlotError> {
        let activated = self
            .staged
            .run(|staged| staged.activate(ActivatedBy::Order))
            .await;
        activated
            .map_err(SlotError::from)
            .inspect_err(|error| tracing::error!("{error}"))
    }

    async fn unstage(&self) -> Result<(), SlotError> {
        let withdrawn = self.slots.run(SlotControl::unstage).await;
        withdrawn
            .map_err(|error| SlotError::io(&error))
            .inspect_err(|error| tracing::error!("{error}"))?;
        self.staged.on_this_thread().disarm().await;
        Ok(())
    }

    async fn ping(&self) {
        self.session.ping().await;
    }

    async fn remember_pending(&self, attempt: Option<&AttemptContext>) {
        let attempt = attempt.cloned();
        self.pending_reboot
            .run(move |pending| pending.remember(attempt.as_ref()))
            .await;
    }

    async fn forget_pending(&self) {
        self.pending_reboot.run(PendingReboot::forget).await;
    }

    async fn is_pending(&self) -> bool {
        self.pending_reboot.run(PendingReboot::is_pending).await
    }

    async fn withdraw(&self) -> Result<(), SlotError> {
        let withdrawn = self.slots.run(SlotControl::withdraw).await;
        withdrawn
            .map_err(|error| SlotError::io(&error))
            .inspect_err(|error| tracing::error!("the other slot is not made unbootable: {error}"))
    }
}
