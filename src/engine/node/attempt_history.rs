//! The history of attempts: a record of what was tried when, for whom, and how it ended. Nothing is
//! decided by it.
//!
//! Writes, and what a cut between leaves behind. None of them stands between two others that matter
//! to the slots; each is one atomic replacement of the record:
//! 1. an attempt begins: before anything is looked at. A cut from here on shows as an interruption,
//!    or as what the disk says if the commit is on it;
//! 2. it failed: after the slot was left as it stays. Without it: an interruption;
//! 3. it succeeded: after commit and marker. Without it the next start draws the same conclusion
//!    from the disk;
//! 4. the slot runs, is kept, was left or withdrawn: after the disk says so, and drawn from what it
//!    says.
//!
//! A record that is damaged, whatever is in it, is replaced by the next attempt. One that can't be
//! read now stays as it is. One that can't be written is logged, and the attempt goes on.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::machine::{Machine, unix_time};
use super::slot_control::partuuid;
use super::staged_slot;
use super::update_history::UpdateHistory;
use crate::disk::DiskError;
use crate::engine::{AttemptContext, Failure};
use crate::journal::chain;
use crate::net::redact;
use crate::plan::InstallPlan;
use crate::policy::{Attempt, Attempts, ClockStep, DiskView};
use crate::status::AttemptState;
use crate::store::record::{self, RecordError, Version};

const FILE: &str = "/var/lib/update_engine/attempts";
const VERSION: Version = Version(1);
/// Thirty-two attempts with the longest of texts have half of it.
const LONGEST: usize = 1 << 20;

/// The last attempts, in their record.
pub(super) struct AttemptHistory {
    machine: Arc<Machine>,
    history: Arc<UpdateHistory>,
    /// Held while the record is changed.
    record: Mutex<()>,
}

/// How an attempt ended that did not install anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptEnd {
    /// By an error of its own.
    Failed,
    /// The daemon ended.
    Stopped,
    /// An operator broke it off.
    Cancelled,
}

impl AttemptHistory {
    pub(super) fn new(machine: &Arc<Machine>, history: &Arc<UpdateHistory>) -> Self {
        Self {
            machine: Arc::clone(machine),
            history: Arc::clone(history),
            record: Mutex::default(),
        }
    }

    pub(super) fn began(&self, context: &AttemptContext, plan: &InstallPlan) {
        let partuuid = self.machine.disk().and_then(|disk| partuuid(&disk, plan.target));
        let attempt = Attempt {
            began: unix_time(),
            ended: None,
            from: self.machine.running_version(),
            to: plan.version.clone(),
            slot: plan.target.to_string(),
            // Preflight says what is wrong with the disk.
            partuuid: partuuid.unwrap_or_default(),
            sha256: plan.payload_sha256,
            size: plan.payload_size,
            asked_by: context.trigger,
            resumed_at: 0,
            fetched: 0,
            content: None,
            download_seconds: 0,
            finish_seconds: 0,
            state: AttemptState::UnderWay,
            code: None,
            why: String::new(),
            times: 1,
        };
        self.change(|attempts| attempts.begin(attempt));
    }

    /// The attempt has installed nothing.
    pub(super) fn ended(&self, context: &AttemptContext, end: AttemptEnd, failure: &Failure) {
        self.end(context, |attempt| match end {
            AttemptEnd::Failed => {
                attempt.state = AttemptState::Failed;
                attempt.explain(failure);
            }
            AttemptEnd::Stopped => {
                attempt.state = AttemptState::Interrupted;
                "the daemon was stopped".clone_into(&mut attempt.why);
            }
            AttemptEnd::Cancelled => {
                attempt.state = AttemptState::Interrupted;
                "an operator broke it off".clone_into(&mut attempt.why);
            }
        });
    }

    /// The slot of the attempt boots next, and that is remembered.
    pub(super) fn succeeded(&self, context: &AttemptContext) {
        self.end(context, |attempt| {
            attempt.state = AttemptState::Waiting;
            if let Some(failure) = &context.remark {
                attempt.explain(failure);
            }
        });
    }

    /// The slot of the attempt holds a staged update.
    pub(super) fn staged(&self, context: &AttemptContext) {
        self.end(context, |attempt| {
            attempt.state = AttemptState::Staged;
            if let Some(failure) = &context.remark {
                attempt.explain(failure);
            }
        });
    }

    fn end(&self, context: &AttemptContext, how: impl FnOnce(&mut Attempt)) {
        let now = unix_time();
        let end = |attempt: &mut Attempt| {
            attempt.ended = Some(now);
            attempt.resumed_at = context.resumed_at;
            attempt.fetched = context.fetched;
            attempt.content.clone_from(&context.content);
            attempt.download_seconds = context.download_seconds;
            attempt.finish_seconds = context.finish_seconds;
            how(attempt);
        };
        self.with_look(|look, attempts| {
            attempts.end(end);
            if let Some(look) = look {
                attempts.settle(look);
            }
        });
    }

    /// How those go on that were installed: the disk has changed.
    pub(super) fn settle(&self) {
        self.with_look(|look, attempts| {
            if let Some(look) = look {
                attempts.settle(look);
            }
        });
    }

    /// What there is to say of the update in the slot with this PARTUUID, which is kept.
    pub(super) fn remark(&self, partuuid: &str, remark: &str) {
        self.change(|attempts| attempts.remark(partuuid, remark));
    }

    /// Whether the daemon ended amid the last attempt; asked before [`Self::note_start`].
    pub(super) fn is_under_way(&self) -> bool {
        self.last_state() == Some(AttemptState::UnderWay)
    }

    /// Whether what the last attempt installed is to boot next.
    pub(super) fn is_last_waiting(&self) -> bool {
        self.last_state() == Some(AttemptState::Waiting)
    }

    fn last_state(&self) -> Option<AttemptState> {
        self.read().iter().last().map(|attempt| attempt.state)
    }

    /// The daemon starts. What became of the last update was looked at before.
    pub(super) fn note_start(&self) {
        self.with_look(|look, attempts| attempts.started(look));
    }

    /// What is remembered; nothing if it can't be read, which is logged.
    pub(super) fn read(&self) -> Attempts {
        self.load().unwrap_or_else(|error| {
            tracing::warn!("the history of attempts begins anew: {}", chain(&error));
            Attempts::default()
        })
    }

    fn with_look(&self, change: impl FnOnce(Option<DiskView<'_>>, &mut Attempts)) {
        let history = self.history.read();
        let found = self.look_at_slots();
        let staged = staged_slot::read(self.machine.host());
        if let Err(error) = &staged {
            tracing::warn!("what became of earlier attempts is not known: {}", chain(error));
        }
        let look = found.as_ref().ok().zip(staged.as_ref().ok());
        let look = look.map(|((running, slots), staged)| DiskView {
            running,
            slots,
            staged: staged.as_ref().map(|staged| staged.partuuid.as_str()),
            history: &history,
        });
        self.change(|attempts| change(look, attempts));
    }

    /// PARTUUID of the running slot, and of each its attributes.
    #[allow(clippy::type_complexity)]
    fn look_at_slots(&self) -> Result<(String, Vec<(String, ::slots::SlotAttributes)>), DiskError> {
        let disk = self.machine.disk()?;
        let running = partuuid(&disk, disk.running())?;
        let rows = disk.table()?.into_iter();
        Ok((running, rows.map(|row| (row.partuuid, row.attributes)).collect()))
    }

    /// The clock was set: what this process has noted is corrected.
    pub(super) fn clock_stepped(&self, step: &ClockStep) {
        self.change(|attempts| attempts.clock_stepped(step));
    }

    fn change(&self, change: impl FnOnce(&mut Attempts)) {
        // It guards a file that is replaced as a whole, so that a panic leaves nothing half done.
        let _one_at_a_time = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match self.load() {
            Err(AttemptsError::Record(error)) if error.is_passing() => {
                tracing::warn!("the history of attempts is not kept: {}", chain(&error));
                return;
            }
            Err(_) => self.read(),
            Ok(before) => before,
        };
        let mut attempts = before.clone();
        change(&mut attempts);
        if attempts != before
            && let Err(error) = self.save(&attempts)
        {
            tracing::warn!("the history of attempts is not kept: {}", chain(&error));
        }
    }

    fn load(&self) -> Result<Attempts, AttemptsError> {
        let contents = record::load_short(&self.machine.host().path(FILE), VERSION, LONGEST)?;
        let attempts = contents.map(|contents| serde_json::from_slice(&contents));
        Ok(attempts.transpose().map_err(io::Error::from)?.unwrap_or_default())
    }

    fn save(&self, attempts: &Attempts) -> Result<(), AttemptsError> {
        let contents = serde_json::to_vec(attempts).map_err(io::Error::from)?;
        Ok(record::save(&self.machine.host().path(FILE), VERSION, &contents)?)
    }
}

impl Attempt {
    fn explain(&mut self, failure: &Failure) {
        self.code = Some(failure.code.number());
        self.why = redact(&failure.reason());
    }
}

/// Why the history of attempts can't be read or written.
#[derive(Debug, thiserror::Error)]
enum AttemptsError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("{FILE} holds no history of attempts")]
    Form(#[from] io::Error),
}
