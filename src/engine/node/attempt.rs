//! The phases of an attempt with their place in the history of attempts, a record of its own.
//!
//! Writes, and what a cut between leaves behind. None of them stands between two others that matter to the slots;
//! each is one atomic replacement of the record:
//! 1. an attempt begins: before anything is looked at. A cut from here on shows as an interruption, or as what the
//!    disk says if the commit is on it;
//! 2. it failed: after the slot was left as it stays. Without it: an interruption;
//! 3. it succeeded: after commit and marker. Without it the next start draws the same conclusion from the disk;
//! 4. the slot runs, is kept, was left or withdrawn: after the disk says so, and drawn from what it says.
//!
//! A record that can't be read, whatever is in it, is replaced by the next attempt. One that can't be written is
//! complained of and holds nobody up.

use std::io;
use std::sync::PoisonError;
use std::time::Instant;

use tokio::sync::watch;

use super::Node;
use super::slots;
use crate::disk::DiskError;
use crate::engine::updater::Progress;
use crate::engine::{AttemptContext, CancelSignal, Commitment, Failure};
use crate::install::{Downloaded, Ready};
use crate::journal::chain;
use crate::net::redact;
use crate::plan::InstallPlan;
use crate::policy::{Attempt, Attempts, DiskView};
use crate::status::{AttemptState, Trigger};
use crate::store::record::{self, RecordError, Version};

const FILE: &str = "/var/lib/update_engine/attempts";
const VERSION: Version = Version(1);
/// Thirty-two attempts with the longest of texts have half of it.
const LONGEST: usize = 1 << 20;

/// How an attempt ended that did not install anything.
#[derive(Clone, Copy)]
enum End {
    Failed,
    /// The daemon ended.
    Stopped,
    /// An operator broke it off.
    Cancelled,
}

impl Node {
    pub(super) async fn prepare_attempt(
        &self,
        attempt: &mut AttemptContext,
        plan: InstallPlan,
    ) -> Result<Ready, Failure> {
        let (trigger, begins) = (attempt.trigger, plan.clone());
        self.blocking(move |node| node.begin_attempt(trigger, &begins))
            .await;
        let ready = self.look_before(attempt, plan).await;
        match &ready {
            Ok(ready) => attempt.resumed_at = ready.resumed_at(),
            Err(failure) => self.note_end(attempt, End::Failed, failure).await,
        }
        ready
    }

    pub(super) async fn download_attempt(
        &self,
        attempt: &mut AttemptContext,
        ready: Ready,
        progress: watch::Sender<Progress>,
        cancel: &CancelSignal,
    ) -> Result<Downloaded, Failure> {
        let begun = Instant::now();
        let written = self.write_slot(attempt, ready, &progress, cancel.token()).await;
        attempt.fetched = progress.borrow().0.saturating_sub(attempt.resumed_at);
        attempt.download_seconds = begun.elapsed().as_secs();
        if let Err(failure) = &written {
            self.note_end(attempt, End::of(cancel), failure).await;
        }
        written
    }

    /// A success is only noted by [`Self::attempt_succeeded`].
    pub(super) async fn finish_attempt(
        &self,
        attempt: &mut AttemptContext,
        written: Downloaded,
        cancel: &CancelSignal,
    ) -> Result<Commitment, Failure> {
        let begun = Instant::now();
        let committed = self.commit_slot(attempt, written, cancel.token()).await;
        attempt.finish_seconds = begun.elapsed().as_secs();
        match &committed {
            Ok(Commitment::Clean) => {}
            Ok(Commitment::AfterError(failure)) => attempt.remark = Some(failure.clone()),
            Err(failure) => self.note_end(attempt, End::of(cancel), failure).await,
        }
        committed
    }

    fn begin_attempt(&self, trigger: Trigger, plan: &InstallPlan) {
        let partuuid = slots::open(&self.settings).and_then(|disk| slots::partuuid(&disk, plan.target));
        let attempt = Attempt {
            began: self.unix_time(),
            ended: None,
            from: self.running_version(),
            to: plan.version.clone(),
            slot: plan.target.to_string(),
            // Preflight says what is wrong with the disk.
            partuuid: partuuid.unwrap_or_default(),
            sha256: plan.payload_sha256,
            size: plan.payload_size,
            asked_by: trigger,
            resumed_at: 0,
            fetched: 0,
            download_seconds: 0,
            finish_seconds: 0,
            state: AttemptState::UnderWay,
            code: None,
            why: String::new(),
            times: 1,
        };
        self.change_attempts(|attempts| attempts.begin(attempt));
    }

    async fn note_end(&self, context: &mut AttemptContext, end: End, failure: &Failure) {
        // Nobody's fault: nothing is held against the payload or its URL. What failed by itself before the cancel
        // is counted.
        if matches!(end, End::Cancelled) {
            context.exonerate_offer();
        }
        let (context, failure) = (context.clone(), failure.clone());
        self.blocking(move |node| {
            node.end_attempt(&context, |attempt| match end {
                End::Failed => {
                    attempt.state = AttemptState::Failed;
                    attempt.explain(&failure);
                }
                End::Stopped | End::Cancelled => {
                    attempt.state = AttemptState::Interrupted;
                    let why = match end {
                        End::Cancelled => "an operator broke it off",
                        _ => "the daemon was stopped",
                    };
                    why.clone_into(&mut attempt.why);
                }
            });
        })
        .await;
    }

    /// The slot of the attempt boots next, and that is remembered. Blocks.
    pub(super) fn attempt_succeeded(&self, context: &AttemptContext) {
        self.end_attempt(context, |attempt| {
            attempt.state = AttemptState::Waiting;
            if let Some(failure) = &context.remark {
                attempt.explain(failure);
            }
        });
    }

    fn end_attempt(&self, context: &AttemptContext, how: impl FnOnce(&mut Attempt)) {
        let now = self.unix_time();
        let end = |attempt: &mut Attempt| {
            attempt.ended = Some(now);
            attempt.resumed_at = context.resumed_at;
            attempt.fetched = context.fetched;
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

    /// How those go on that were installed: the disk has changed. Blocks.
    pub(super) fn settle_attempts(&self) {
        self.with_look(|look, attempts| {
            if let Some(look) = look {
                attempts.settle(look);
            }
        });
    }

    /// Whether the daemon ended amid the last attempt; asked before [`Self::start_attempts`]. Blocks.
    pub(super) fn is_attempt_under_way(&self) -> bool {
        let attempts = self.attempts();
        let last = attempts.iter().last();
        last.is_some_and(|attempt| attempt.state == AttemptState::UnderWay)
    }

    /// Whether what the last attempt installed is to boot next. Blocks.
    pub(super) fn is_last_attempt_waiting(&self) -> bool {
        let attempts = self.attempts();
        let last = attempts.iter().last();
        last.is_some_and(|attempt| attempt.state == AttemptState::Waiting)
    }

    /// The daemon starts. What became of the last update was looked at before. Blocks.
    pub(super) fn start_attempts(&self) {
        self.with_look(|look, attempts| attempts.started(look));
    }

    /// What is remembered; nothing if it can't be read, which is logged. Blocks.
    pub(super) fn attempts(&self) -> Attempts {
        self.load_attempts().unwrap_or_else(|error| {
            tracing::warn!("the history of attempts begins anew: {}", chain(&error));
            Attempts::default()
        })
    }

    fn with_look(&self, change: impl FnOnce(Option<DiskView<'_>>, &mut Attempts)) {
        let history = self.history();
        let found = self.look_at_slots();
        let look = found.as_ref().ok().map(|(running, slots)| DiskView {
            running,
            slots,
            history: &history,
        });
        self.change_attempts(|attempts| change(look, attempts));
    }

    /// PARTUUID of the running slot, and of each its attributes.
    #[allow(clippy::type_complexity)]
    fn look_at_slots(&self) -> Result<(String, Vec<(String, ::slots::SlotAttributes)>), DiskError> {
        let disk = slots::open(&self.settings)?;
        let running = slots::partuuid(&disk, disk.running())?;
        let rows = disk.table()?.into_iter();
        Ok((running, rows.map(|row| (row.partuuid, row.attributes)).collect()))
    }

    pub(super) fn change_attempts(&self, change: impl FnOnce(&mut Attempts)) {
        // It guards files that are replaced as a whole, so that a panic leaves nothing half done.
        let _one_at_a_time = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.attempts();
        let mut attempts = before.clone();
        change(&mut attempts);
        if attempts != before
            && let Err(error) = self.save_attempts(&attempts)
        {
            tracing::warn!("the history of attempts is not kept: {}", chain(&error));
        }
    }

    fn load_attempts(&self) -> Result<Attempts, AttemptsError> {
        let contents = record::load_short(&self.host().path(FILE), VERSION, LONGEST)?;
        let attempts = contents.map(|contents| serde_json::from_slice(&contents));
        Ok(attempts.transpose().map_err(io::Error::from)?.unwrap_or_default())
    }

    fn save_attempts(&self, attempts: &Attempts) -> Result<(), AttemptsError> {
        let contents = serde_json::to_vec(attempts).map_err(io::Error::from)?;
        Ok(record::save(&self.host().path(FILE), VERSION, &contents)?)
    }
}

impl End {
    fn of(cancel: &CancelSignal) -> Self {
        match (cancel.token().is_cancelled(), cancel.is_by_operator()) {
            (false, _) => Self::Failed,
            (true, false) => Self::Stopped,
            (true, true) => Self::Cancelled,
        }
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
