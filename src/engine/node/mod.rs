//! The real world behind the engine: this machine's files, disk, network and clock.
//!
//! ```text
//!   Updater's methods ─┬─ watch, mark_good, ─────── trial         health, marking good, leaving the slot
//!                      │  fall_back                history       what became of updates, in a record
//!                      │                           slots         the disk, found anew for each use
//!                      ├─ check, revisit, report ─ conversation  configuration, prefs, one POST
//!                      │                           grants        whether to ask at all, or only to tell
//!                      │                           offers        policy, payload state, plan
//!                      ├─ preview ──────────────── preview       what an attempt would come to; changes nothing
//!                      ├─ prepare … finish ─────── attempt       each phase, and its place in the history of attempts
//!                      │                           installation  the installer's phases, what they leave in prefs
//!                      ├─ roll_back ────────────── rollback      the other slot next, because somebody wants it
//!                      ├─ survey ───────────────── survey        what the bus shows of slots and rollbacks
//!                      └─ remember, forget, ────── pending       the marker file, and what is withdrawn before
//!                         withdraw                               the other slot becomes unbootable
//!                                                  history       what became of the last update
//!                                                  clock         times in the records, once the clock was set
//!                                                  extensions    those that belong to no slot any more
//! ```
//!
//! Configuration, keys and identity are read for each use: operators edit and bind-mount them while the
//! daemon runs. What blocks runs on threads of its own.

mod attempt;
mod clock;
mod conversation;
mod extensions;
mod grants;
mod history;
mod installation;
mod offers;
mod pending;
mod preview;
mod rollback;
mod slots;
mod survey;
mod trial;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use clock::ClockSignal;
pub(super) use history::RememberError;
use pending::AnnouncedSlots;
pub use slots::DiskChoice;

use super::updater::{Checked, Progress, Updater};
use super::{AttemptContext, CancelSignal, Commitment, Failure, Fallback, Report, State, Survey};
use crate::config::{Config, HealthSettings};
use crate::disk::DiskError;
use crate::health::{Cause, TrialEnd};
use crate::host::{Host, NodeMode, Unreadable, since_boot};
use crate::install::{Downloaded, Postinst, Ready};
use crate::journal::AttemptFields;
use crate::journal::chain;
use crate::plan::InstallPlan;
use crate::policy::{ClockStep, History, Interval, ServerPace};
use crate::reboot::RebootRequest;
use crate::status::{OfferSource, Preview, Trigger, UnixTime};
use crate::store::{PREFS_DIR, Prefs};
use trial::TrialState;

/// What the command line fixes for the daemon's life.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The machine, or the directory that stands for it.
    pub host: Host,
    /// The disk that holds the slots.
    pub disk: DiskChoice,
    /// Whether images' postinst scripts are run.
    pub postinst: Postinst,
}

/// This machine. Clones are the same one.
#[derive(Clone)]
pub struct Node {
    settings: Arc<Settings>,
    prefs: Prefs,
    memory: Arc<Mutex<Memory>>,
    /// Held while one of the records is changed.
    record: Arc<Mutex<()>>,
    /// What lines of the journal say about the attempt under way.
    attempt_fields: AttemptFields,
    /// Who tells that the clock of the wall was set, once somebody waits for it.
    clock: ClockSignal,
    /// Held while the other slot is opened to see whether it can be written.
    preflights: Arc<tokio::sync::Mutex<()>>,
}

/// What one job leaves for the next. Never locked across an await.
#[derive(Default)]
struct Memory {
    /// The interval before the last check; none before the first.
    interval: Option<Interval>,
    /// How the last check went, as far as the next one's time depends on it.
    outcome: Option<ServerPace>,
    /// PARTUUID of the running slot, once it was looked at.
    running: Option<String>,
    /// What was remembered of updates when that could be read last.
    history: Option<History>,
    /// How the trial of the running slot stands.
    standing: TrialState,
    /// Why the running slot could not be marked good when that was last tried.
    on_trial: Option<String>,
    /// Until when the server is not asked, whatever the clock of the wall says.
    quiet_until: Option<Instant>,
    /// The version that runs, as configuration last said.
    version: String,
    /// Of which contents of the configuration the journal was told what is odd in them, and of the machine's id.
    warned: Option<(u64, Option<String>)>,
}

impl Node {
    /// The machine that `settings` describe. Looks at nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let prefs = Prefs::new(settings.host.path(PREFS_DIR));
        Self {
            settings: Arc::new(settings),
            prefs,
            memory: Arc::default(),
            record: Arc::default(),
            attempt_fields: AttemptFields::default(),
            clock: ClockSignal::default(),
            preflights: Arc::default(),
        }
    }

    /// The same, with `attempt_fields` shared with the journal.
    #[must_use]
    pub fn with_attempt_fields(self, attempt_fields: AttemptFields) -> Self {
        Self {
            attempt_fields,
            ..self
        }
    }

    /// Where the engine starts on this machine: idle, or waiting for a reboot that an earlier process
    /// prepared. Notices a rollback. Blocks.
    #[must_use]
    pub fn initial_state(&self) -> State {
        let was_cut = self.is_attempt_under_way();
        self.look_back();
        if !self.is_waiting(was_cut) {
            return State::idle();
        }
        let history = self.history();
        let running = self.memory(|memory| memory.running.clone());
        if running.is_some_and(|running| history.is_leaving(&running)) {
            State::rollback_pending(self.version_of_other())
        } else {
            State::reboot_pending()
        }
    }

    fn host(&self) -> &Host {
        &self.settings.host
    }

    /// The disk for whoever may make the other slot unbootable. Blocks.
    fn announced_slots(&self) -> Result<AnnouncedSlots, DiskError> {
        Ok(AnnouncedSlots {
            disk: slots::open(&self.settings)?,
            node: self.clone(),
        })
    }

    /// The configuration as it is now. What is odd about it is told once for each of its contents.
    fn config(&self) -> Result<Config, Unreadable> {
        let config = Config::load(|path| self.host().read(path))?;
        let machine_id = self.host().machine_id_warning();
        let seen = (config.fingerprint, machine_id.clone());
        let is_new = self.memory(|memory| {
            memory.version.clone_from(&config.version);
            memory.warned.replace(seen.clone()).as_ref() != Some(&seen)
        });
        if is_new {
            for warning in config.warnings().into_iter().chain(machine_id) {
                tracing::warn!("{warning}");
            }
        }
        Ok(config)
    }

    fn health_settings(&self) -> Result<HealthSettings, Unreadable> {
        HealthSettings::load(|path| self.host().read(path))
    }

    /// The version that runs; empty if nobody knows. It stays what it was where configuration can't be read any more.
    fn running_version(&self) -> String {
        match self.config() {
            Ok(config) => config.version,
            Err(_) => self.memory(|memory| memory.version.clone()),
        }
    }

    fn memory<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        // Plain values: a panic elsewhere cannot have left them half written.
        look(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(self.now())
    }

    /// Runs what blocks on a thread of its own, with this node.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let node = self.clone();
        match tokio::task::spawn_blocking(move || work(&node)).await {
            Ok(value) => value,
            // Blocking jobs are never aborted, so this is a panic: it goes on where it is waited for.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Updater for Node {
    type Plan = InstallPlan;
    type Ready = Ready;
    type Written = Downloaded;

    fn now(&self) -> i64 {
        // A clock before 1970 is a clock that was never set.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    fn steady(&self) -> Duration {
        since_boot()
    }

    async fn clock_was_set(&self) {
        self.clock.was_set().await;
    }

    async fn clock_stepped(&self, step: ClockStep) {
        self.blocking(move |node| node.correct_times(&step)).await;
    }

    fn until_next_check(&self) -> Option<Duration> {
        // Where nobody knows, the check says so.
        if matches!(self.host().mode(), Ok(NodeMode::Developer)) {
            tracing::info!("a developer's machine: no periodic checks");
            return None;
        }
        self.memory(|memory| {
            let outcome = memory.outcome.take().unwrap_or(ServerPace::ORDINARY);
            let next = memory.interval.map_or(Interval::FIRST, |last| last.next(outcome));
            memory.interval = Some(next);
            Some(next.delay(offers::seed()))
        })
    }

    fn why_then(&self) -> String {
        match self.host().mode() {
            Ok(NodeMode::Developer) => {
                "a developer's machine (/root/.dev_mode): no periodic checks".to_owned()
            }
            Ok(NodeMode::Production) | Err(_) => {
                let interval = self.memory(|memory| memory.interval.unwrap_or(Interval::FIRST));
                interval.reason()
            }
        }
    }

    async fn survey(&self) -> Survey {
        self.blocking(Self::look_around).await
    }

    async fn watch_trial(&self) -> TrialEnd {
        self.watch_health().await
    }

    async fn fall_back(&self, cause: Cause) -> Fallback {
        let fallback = self.leave_slot(cause).await;
        match &fallback {
            Fallback::Rebooting => {}
            Fallback::GoodAfterAll => {
                tracing::warn!("the running slot was marked good by somebody else; it stays");
            }
            Fallback::Stays(reason) => tracing::error!("the running slot is not left: {reason}"),
        }
        fallback
    }

    async fn mark_good_anyway(&self) -> Result<(), String> {
        let marked = self.blocking(Self::mark_running_anyway).await;
        if marked.is_ok() {
            self.memory(|memory| memory.on_trial = None);
        }
        marked
    }

    async fn roll_back(&self) -> Result<String, String> {
        let rolled_back = self.blocking(Self::go_back).await;
        rolled_back.map_err(|error| {
            let reason = chain(&error);
            tracing::error!("no rollback: {reason}");
            reason
        })
    }

    async fn mark_good(&self) -> Result<(), String> {
        let marked = self.blocking(Self::mark_running_good).await;
        self.memory(|memory| memory.on_trial = marked.as_ref().err().cloned());
        marked.inspect_err(|reason| tracing::warn!("the running slot is not marked good: {reason}"))
    }

    async fn preview(&self, source: OfferSource) -> Preview {
        self.look_ahead(source).await
    }

    async fn check(&self, trigger: Trigger) -> Checked<InstallPlan> {
        let checked = self.ask(trigger).await.unwrap_or_else(Checked::Failed);
        if matches!(checked, Checked::NoUpdate | Checked::NotAsked(_)) {
            self.attempt_fields.end();
        }
        if let Some(end) = checked.end() {
            self.count_in(move |tally, now| tally.checked(end, now)).await;
        }
        checked
    }

    async fn revisit(&self, trigger: Trigger) -> Option<Checked<InstallPlan>> {
        self.ask_beside_waiting(trigger).await
    }

    async fn report(&self, attempt: &AttemptContext, report: &Report) {
        self.say(attempt, report).await;
    }

    async fn prepare(&self, attempt: &mut AttemptContext, plan: InstallPlan) -> Result<Ready, Failure> {
        self.prepare_attempt(attempt, plan).await
    }

    async fn download(
        &self,
        attempt: &mut AttemptContext,
        ready: Ready,
        progress: watch::Sender<Progress>,
        cancel: CancelSignal,
    ) -> Result<Downloaded, Failure> {
        self.download_attempt(attempt, ready, progress, &cancel).await
    }

    async fn finish(
        &self,
        attempt: &mut AttemptContext,
        written: Downloaded,
        cancel: CancelSignal,
    ) -> Result<Commitment, Failure> {
        self.finish_attempt(attempt, written, &cancel).await
    }

    async fn remember_pending(&self, attempt: Option<&AttemptContext>) {
        let attempt = attempt.cloned();
        self.blocking(move |node| {
            // A rollback by hand runs no postinst: whoever wants the reboot by now wanted it before.
            let wanted = attempt.as_ref().map_or_else(
                || RebootRequest::of(node.host()).is_made(),
                |attempt| attempt.reboot_wanted,
            );
            if let Err(error) = node.leave_word(wanted) {
                tracing::warn!("cannot remember that a reboot is due: {}", chain(&error));
            }
            match attempt {
                Some(attempt) => node.attempt_succeeded(&attempt),
                None => node.settle_attempts(),
            }
        })
        .await;
    }

    async fn forget_pending(&self) {
        let forgotten = self.blocking(|node| pending::forget(node.host()));
        if let Err(error) = forgotten.await {
            tracing::warn!("cannot forget that a reboot was due: {}", chain(&error));
        }
        self.blocking(Self::no_longer_waiting).await;
    }

    async fn is_pending(&self) -> bool {
        self.blocking(|node| pending::is_pending(node.host())).await
    }

    async fn withdraw(&self) -> Result<(), String> {
        let withdrawn = self.blocking(|node| {
            let slots = node.announced_slots()?;
            slots.withdraw()?;
            node.keep_running(&slots.disk);
            Ok::<_, DiskError>(())
        });
        let withdrawn = withdrawn.await;
        withdrawn.map_err(|error| {
            let reason = chain(&error);
            tracing::error!("the other slot is not made unbootable: {reason}");
            reason
        })
    }
}
