//! The manager: one task that owns the state, carries out the effects of [`step`], and publishes its report.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::coordinator::{CoordinatorError, CoordinatorFile, CoordinatorState};
use super::event::{ManagerEffect, ManagerEvent, ManagerJob, Notice};
use super::jobs;
use super::metrics::exposition;
use super::record_file::{LeftRecord, RecordFile};
use super::request_file;
use super::settings::ManagerSettings;
use super::state::{ManagerPhase, ManagerState, RebootObstacle, WantedReboot};
use super::step::step;
use crate::host::Unreadable;
use crate::journal::{MessageId, chain};
use crate::printable::printable;
use crate::reboot_lock::{ManagerReport, publish};
use crate::store::record::RecordError;
use crate::systemd::ServiceManager;

/// A window is looked at so often for what is told of it: it closes, or somebody sets the clock.
const LOOK: Duration = Duration::from_secs(60);

/// The end of a manager that could have gone on.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// Another manager, or none can be told.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// Which boot this is.
    #[error("which boot this is can't be told")]
    Boot(#[from] Unreadable),
    /// Whether this node may hold the lock can't be told now.
    #[error("whether this node may hold the reboot lock can't be told")]
    Record(#[from] RecordError),
    /// A part of it panicked; the journal has it already.
    #[error("a job died")]
    Died(#[from] JoinError),
}

/// A job that runs; aborted when dropped.
struct Running(JoinHandle<ManagerEvent>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The reboot manager of a node.
pub struct Manager {
    settings: Arc<ManagerSettings>,
    state: ManagerState,
    file: RecordFile,
    coordinator: CoordinatorFile,
    service: Option<ServiceManager>,
    job: Option<Running>,
    /// Unix time in seconds since when a reboot is wanted.
    waiting_since: Option<i64>,
    told: ManagerReport,
}

impl Manager {
    /// Becomes the reboot manager of the node, with what an earlier process has left. Blocks.
    ///
    /// # Errors
    /// [`ManagerError::Coordinator`] beside another one.
    pub fn new(settings: ManagerSettings) -> Result<Self, ManagerError> {
        let coordinator = CoordinatorFile::new(&settings.host, settings.strategy)?;
        let boot = settings.host.identity()?.boot_id;
        let (file, left) = RecordFile::open(&settings.host, settings.lock.name())?;
        if let Some(other) = file.other_lock() {
            tracing::warn!(
                "the settings name another lock than before: this node may still hold {other}, and doesn't give that back. \
                 Release it there"
            );
        }
        let start = |record| ManagerState::new(boot, settings.after_rollback, record);
        let mut state = match left {
            LeftRecord::Nothing => start(None),
            LeftRecord::Hold(record) => start(Some(record)),
            LeftRecord::Lost => start(None).with_lost_record(),
        };
        if request_file::is_there(&settings.host, &state.boot) {
            (state, _) = step(&state, ManagerEvent::Requested);
        }
        Ok(Self {
            state,
            settings: Arc::new(settings),
            file,
            coordinator,
            service: ServiceManager::from_env(),
            job: None,
            waiting_since: None,
            told: ManagerReport::default(),
        })
    }

    /// Takes events until `stop`, or until none come any more.
    ///
    /// # Errors
    /// [`ManagerError::Died`].
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<ManagerEvent>,
        stop: CancellationToken,
    ) -> Result<(), ManagerError> {
        self.tell();
        if let Some(manager) = &self.service {
            manager.ready();
        }
        loop {
            // At least whether the window is open may be news.
            let edge = self.time_to_look();
            let event = tokio::select! {
                () = stop.cancelled() => break,
                event = events.recv() => match event {
                    Some(event) => event,
                    None => break,
                },
                answer = ended(&mut self.job) => {
                    self.job = None;
                    answer?
                }
                () = sleep(edge) => {
                    self.tell();
                    continue;
                }
            };
            self.take(event);
            self.tell();
        }
        if let Some(manager) = &self.service {
            manager.stopping();
        }
        Ok(())
    }

    /// Until what is told of the window may have changed; none without windows.
    fn time_to_look(&self) -> Option<Duration> {
        let now = Timestamp::now();
        let opens = self.settings.windows.next_opening(now)?;
        let wait = Duration::try_from(opens.duration_since(now)).ok();
        Some(wait.unwrap_or(LOOK).min(LOOK))
    }

    fn take(&mut self, event: ManagerEvent) {
        if matches!(event, ManagerEvent::Requested)
            && let Err(error) = request_file::write(&self.settings.host, &self.state.boot)
        {
            tracing::warn!(%error, "root's request for a reboot would be lost by a restart of the manager");
        }
        tracing::debug!(?event, phase = ?self.state.phase(), "an event");
        let (state, effects) = step(&self.state, event);
        self.state = state;
        for effect in effects {
            match effect {
                ManagerEffect::Save(record) => {
                    if let Err(error) = self.file.save(&record, now()) {
                        return self.take(ManagerEvent::NotSaved(chain(&error)));
                    }
                }
                ManagerEffect::Forget => {
                    if let Err(error) = self.file.forget() {
                        // A later start finds it, and gives back what isn't held.
                        tracing::warn!("{}", chain(&error));
                    }
                }
                ManagerEffect::Stop => self.job = None,
                ManagerEffect::Start(job) => self.start(job),
                ManagerEffect::Say(notice) => say(&notice),
            }
        }
    }

    fn start(&mut self, job: ManagerJob) {
        // First of all: its answer never comes.
        self.job = None;
        let version = match job {
            ManagerJob::Settle => self.prepared_version(),
            _ => self.version(),
        };
        let running = tokio::spawn(jobs::run(Arc::clone(&self.settings), job, version));
        self.job = Some(Running(running));
    }

    /// The version for whose reboot `pre-reboot.d` was run.
    fn prepared_version(&self) -> String {
        let Some(record) = self.state.record() else {
            return String::new();
        };
        let wanted = record.wanted.as_ref().map(|wanted| &wanted.version);
        let failed = record.failed.as_ref().map(|failed| &failed.version);
        wanted.or(failed).cloned().unwrap_or_default()
    }

    /// The version that is to be booted.
    fn version(&self) -> String {
        let of_record = self.state.record().and_then(|record| record.wanted.clone());
        let wanted = of_record.or_else(|| self.state.wanted());
        wanted.map(|wanted| wanted.version).unwrap_or_default()
    }

    /// Tells everybody who may want to know, if it is news.
    fn tell(&mut self) {
        let is_wanted = self.state.wanted().is_some();
        self.waiting_since = self.waiting_since.or_else(|| Some(now())).filter(|_| is_wanted);
        let report = self.report();
        if report == self.told {
            return;
        }
        self.coordinator.tell(coordinator_state(self.state.phase()));
        if let Some(manager) = &self.service {
            manager.status(&report.summary);
        }
        if report.summary != self.told.summary {
            tracing::info!("{}", report.summary);
        }
        let written = report.write(&self.settings.host);
        let metrics = self.settings.metrics.as_ref();
        let metrics = metrics.map_or(Ok(()), |path| publish(path, &exposition(&report)));
        if let Err(error) = written.and(metrics) {
            tracing::warn!(%error, "what the manager is at can't be told");
        }
        self.told = report;
    }

    fn report(&self) -> ManagerReport {
        let phase = self.state.phase();
        let told = |text: &str| printable(text).chars().take(1000).collect::<String>();
        let refused_by = self.state.obstacle().map(RebootObstacle::word);
        let is_silence = matches!(self.state.obstacle(), Some(RebootObstacle::EngineSilent(_)));
        let obstacle = self.state.obstacle().map(|obstacle| told(&obstacle.to_string()));
        let time = Timestamp::now();
        let opens = self.settings.windows.next_opening(time);
        let is_open = self.settings.windows.is_open(time);
        let failed = self.state.record().and_then(|record| record.failed.clone());
        let mut summary = self.sentence();
        // Writing to a string can't fail.
        if let Some(opens) = opens.filter(|_| phase == ManagerPhase::Waiting && !is_open) {
            let _ = write!(summary, "; it opens at {}", self.settings.windows.shown(opens));
        }
        if let Some(obstacle) = &obstacle {
            let _ = write!(summary, ": {obstacle}");
        }
        // Whatever else is the matter: what the engine said last may not hold any more.
        let silence = self.state.silence().map(told);
        if let Some(silence) = silence.as_ref().filter(|_| !is_silence) {
            let _ = write!(summary, "; the update engine does not answer: {silence}");
        }
        ManagerReport {
            phase: phase.word().to_owned(),
            summary,
            strategy: self.settings.strategy.word().to_owned(),
            id: self.settings.lock.id().to_owned(),
            wanted_version: self.state.wanted().map(|wanted| wanted.version),
            obstacle,
            refused_by: refused_by.map(str::to_owned),
            engine_silent: silence,
            holding_since: self.file.since(),
            waiting_since: self.waiting_since,
            window_open: is_open,
            next_window: opens.map(Timestamp::as_second),
            next_window_local: opens.map(|opens| self.settings.windows.shown(opens)),
            failed_version: failed.as_ref().map(|failed| failed.version.clone()),
            failed_cause: failed.map(|failed| failed.cause),
        }
    }

    /// What is under way, for people.
    fn sentence(&self) -> String {
        let version = match self.version() {
            version if version.is_empty() => "the other slot".to_owned(),
            version => version,
        };
        match self.state.phase() {
            ManagerPhase::Starting => "waits for the update engine".to_owned(),
            ManagerPhase::Idle => "no reboot is wanted".to_owned(),
            ManagerPhase::Waiting => format!("the reboot into {version} waits for its window"),
            ManagerPhase::Locking => format!("the reboot into {version} waits for the lock"),
            ManagerPhase::Preparing => format!("runs pre-reboot.d before the reboot into {version}"),
            ManagerPhase::Notifying => format!("logged-in users are told of the reboot into {version}"),
            ManagerPhase::Confirming => format!("about to reboot into {version}"),
            ManagerPhase::Rebooting => format!("logind was asked to reboot into {version}"),
            ManagerPhase::Trial => "the lock is held until the running slot is found good".to_owned(),
            ManagerPhase::Settling => "runs post-good.d".to_owned(),
            ManagerPhase::Unlocking => "gives the lock back".to_owned(),
            ManagerPhase::Held => {
                let failed = self.state.record().and_then(|record| record.failed.as_ref());
                failed.map_or_else(String::new, |failed| {
                    format!(
                        "the lock is kept after the rollback from {}: {}",
                        printable(&failed.version),
                        printable(&failed.cause)
                    )
                })
            }
        }
    }
}

/// The answer of the job under way; never comes without one.
async fn ended(job: &mut Option<Running>) -> Result<ManagerEvent, JoinError> {
    match job {
        Some(Running(handle)) => handle.await,
        None => std::future::pending().await,
    }
}

/// For ever without a limit.
async fn sleep(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

const fn coordinator_state(phase: ManagerPhase) -> CoordinatorState {
    match phase {
        ManagerPhase::Starting => CoordinatorState::Starting,
        ManagerPhase::Idle
        | ManagerPhase::Trial
        | ManagerPhase::Settling
        | ManagerPhase::Unlocking
        | ManagerPhase::Held => CoordinatorState::Running,
        ManagerPhase::Waiting
        | ManagerPhase::Locking
        | ManagerPhase::Preparing
        | ManagerPhase::Notifying
        | ManagerPhase::Confirming => CoordinatorState::RebootPlanned,
        ManagerPhase::Rebooting => CoordinatorState::Rebooting,
    }
}

fn say(notice: &Notice) {
    let slot = |wanted: &WantedReboot| wanted.slot.clone();
    match notice {
        Notice::Taken(wanted) => tracing::info!(
            MESSAGE_ID = MessageId::RebootLockTaken.id(),
            UPDATE_VERSION = wanted.version,
            UPDATE_SLOT = slot(wanted),
            "the reboot lock is ours, for {}",
            told(wanted)
        ),
        Notice::Rebooting(wanted) => tracing::info!(
            MESSAGE_ID = MessageId::RebootOrdered.id(),
            UPDATE_VERSION = wanted.version,
            UPDATE_SLOT = slot(wanted),
            "asking logind for the reboot into {}",
            told(wanted)
        ),
        Notice::Released => tracing::info!(
            MESSAGE_ID = MessageId::RebootLockReleased.id(),
            "the reboot lock is given back"
        ),
        Notice::Held(failed) => tracing::error!(
            MESSAGE_ID = MessageId::RebootLockKept.id(),
            UPDATE_VERSION = failed.version,
            "the reboot lock is kept after the rollback from {:?}: {}. Release it by: update_engine_client reboot-lock release",
            failed.version,
            failed.cause
        ),
        Notice::NotHeld(failed) => tracing::error!(
            UPDATE_VERSION = failed.version,
            "the node has rolled back from {:?}: {}. The reboot lock is given back, as AFTER_ROLLBACK=release says",
            failed.version,
            failed.cause
        ),
        Notice::CalledOff => tracing::info!(
            MESSAGE_ID = MessageId::RebootCalledOff.id(),
            "the reboot is called off"
        ),
    }
}

fn told(wanted: &WantedReboot) -> String {
    if wanted.version.is_empty() {
        "whatever boots next".to_owned()
    } else {
        format!("version {:?}", wanted.version)
    }
}

/// Unix time in seconds.
fn now() -> i64 {
    Timestamp::now().as_second()
}
