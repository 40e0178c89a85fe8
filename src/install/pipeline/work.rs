//! The workers' tasks: operations decoded, written and synced.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use payload_format::{Checkpoint, Event, Manifest, OpId, Operation, Streamed};

use super::images::OpenImages;
use super::messages::{Kept, Message, Outlet};
use super::read_back_thread::ReadBackThread;
use super::worker_pool::WorkerPool;
use crate::fetch::Entity;
use crate::host::Host;
use crate::install::pace::PressureThrottle;
use crate::install::saved::Ledger;
use crate::install::schedule::{Readiness, Schedule};
use crate::install::unbootable::Beginning;
use crate::install::{InstallError, Pace};

/// Nothing is due: what there is to wait for comes as a message.
const LONG: Duration = Duration::from_secs(3600);

/// What the workers need for any operation.
pub(super) struct Tools {
    pub(super) manifest: Arc<Manifest>,
    pub(super) images: OpenImages,
    pub(super) ledger: Ledger,
    /// Which file the payload comes from.
    pub(super) entity: Option<Entity>,
    pub(super) outlet: Outlet,
    pub(super) review: ReadBackThread,
    /// The machine, whose pressure counts.
    pub(super) host: Host,
}

enum Job {
    Apply { op: OpId, data: Vec<u8> },
    Checkpoint(Box<Checkpoint>),
}

/// Whether an event was dealt with.
pub(super) enum EventOutcome {
    /// It was.
    Taken,
    /// Something else has to happen first.
    Later(Event),
}

/// See the module.
pub(super) struct Work {
    pace: Pace,
    tools: Arc<Tools>,
    worker_pool: WorkerPool<Job>,
    schedule: Schedule,
    /// The reader's place after the last operation that has started.
    boundary: Checkpoint,
    /// Proposed, but not with the worker pool yet.
    candidate: Option<Checkpoint>,
    /// The last that was proposed.
    proposed: OpId,
    proposed_at: Instant,
    /// Bytes handed to operations since then.
    written: u64,
    /// An operation too large to be held in memory.
    streamed: Option<Streamed>,
    pressure_throttle: PressureThrottle,
}

impl Work {
    /// Begins at `at`, for which a fresh attempt makes the first checkpoint.
    pub(super) fn new(pace: Pace, tools: Tools, at: Checkpoint, beginning: Beginning) -> Self {
        let tools = Arc::new(tools);
        let (block, memory) = (tools.manifest.block_size().bytes(), tools.manifest.memory());
        let mut schedule = Schedule::new(at.next_operation().index(), pace.left_by(memory), block);
        if beginning == Beginning::Fresh
            && let Err(error) = tools.ledger.record(&at, tools.entity.as_ref())
        {
            tracing::warn!(error = &error as &dyn Error, "no first checkpoint");
            schedule.withdraw();
        }
        // One more than decode, so that a sync keeps none of them from working.
        let (worker_pool, with) = (pace.workers.saturating_add(1), Arc::clone(&tools));
        Self {
            pace,
            worker_pool: WorkerPool::new(worker_pool, move |job| with.work(job)),
            schedule,
            proposed: at.next_operation(),
            boundary: at,
            candidate: None,
            proposed_at: Instant::now(),
            written: 0,
            streamed: None,
            pressure_throttle: PressureThrottle::default(),
            tools,
        }
    }

    /// Whether the data of the operation that is due may be read now, as far as memory goes.
    pub(super) fn may_read(&self, due: Option<OpId>) -> bool {
        let due = due.and_then(|op| self.tools.manifest.operation(op));
        // What streams has started already.
        self.streamed.is_some() || due.is_none_or(|operation| self.schedule.may_read(operation))
    }

    /// Starts what the event brings, if it may start.
    ///
    /// # Errors
    /// An operation that streams failed, or a checkpoint can't be withdrawn.
    pub(super) fn offer(&mut self, event: Event) -> Result<EventOutcome, InstallError> {
        match event {
            Event::Operation { op, data } => {
                if !self.may_start(op)? {
                    return Ok(EventOutcome::Later(Event::Operation { op, data }));
                }
                self.worker_pool.give(Job::Apply { op, data });
            }
            Event::Piece { op, data } => {
                if self.streamed.is_none() {
                    if !self.may_start(op)? {
                        return Ok(EventOutcome::Later(Event::Piece { op, data }));
                    }
                    self.streamed = Some(self.tools.images.stream(op)?);
                }
                if let Some(streamed) = &mut self.streamed {
                    streamed.write(&data)?;
                }
            }
            Event::PiecesVerified { op } => {
                if let Some(streamed) = self.streamed.take() {
                    streamed.finish()?;
                }
                self.schedule.finish(op.index());
            }
            // The one comes before there is any work, the other never: the limits of nodes refuse
            // content payloads.
            Event::Metadata { .. } | Event::Content { .. } => {}
        }
        Ok(EventOutcome::Taken)
    }

    /// Whether the next operation may start; it counts as started then.
    fn may_start(&mut self, op: OpId) -> Result<bool, InstallError> {
        let tools = Arc::clone(&self.tools);
        if self.is_held() {
            return Ok(false);
        }
        // Invariant: the reader hands out operations of its manifest only.
        let Some(operation) = tools.manifest.operation(op) else {
            return Ok(false);
        };
        let written = self.written.saturating_add(bytes_of(&tools.manifest, operation));
        if self.schedule.candidate().is_some() && written > self.pace.bytes {
            return Ok(false);
        }
        match self.schedule.verdict(operation) {
            Readiness::Start => {}
            Readiness::Wait => return Ok(false),
            Readiness::Checkpoint(_) => {
                self.propose();
                return Ok(false);
            }
            Readiness::Withdraw => {
                tools.ledger.withdraw().map_err(InstallError::State)?;
                self.schedule.withdraw();
            }
        }
        self.schedule.start(operation);
        self.written = written;
        Ok(true)
    }

    /// Whether the node is under pressure, and the next operation can wait still.
    fn is_held(&mut self) -> bool {
        let (limits, host) = (self.pace.pressure, &self.tools.host);
        !limits.is_none()
            && self
                .pressure_throttle
                .holds(Instant::now(), || host.under_pressure(&limits).is_some())
    }

    /// The reader stands at `at`, after the event that was taken last.
    pub(super) fn passed(&mut self, at: Option<Checkpoint>) {
        // While an operation streams the reader stands before it.
        if let Some(at) = at.filter(|_| self.streamed.is_none()) {
            self.boundary = at;
        }
    }

    /// An operation is done.
    pub(super) fn done(&mut self, operation: usize) {
        self.schedule.finish(operation);
    }

    /// Proposes a checkpoint if one is due, and has it made once all its operations are done.
    pub(super) fn tend(&mut self) {
        if self.until_checkpoint().is_zero() {
            self.propose();
        }
        if let Some((_, true)) = self.schedule.candidate()
            && let Some(candidate) = self.candidate.take()
        {
            self.worker_pool.give(Job::Checkpoint(Box::new(candidate)));
        }
    }

    fn propose(&mut self) {
        if self.schedule.candidate().is_some() || self.streamed.is_some() {
            return;
        }
        self.schedule.propose(self.schedule.next());
        self.proposed = self.boundary.next_operation();
        self.proposed_at = Instant::now();
        self.written = 0;
        self.candidate = Some(self.boundary.clone());
    }

    /// A checkpoint was made, or couldn't be kept.
    ///
    /// # Errors
    /// If an older one can't be withdrawn either.
    pub(super) fn checkpointed(&mut self, kept: Kept) -> Result<(), InstallError> {
        match kept {
            Kept::Recorded => self.schedule.record(),
            Kept::Lost(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "this attempt can't be resumed from here"
                );
                self.tools.ledger.withdraw().map_err(InstallError::State)?;
                self.schedule.abandon();
            }
        }
        Ok(())
    }

    /// How long nothing is due.
    pub(super) fn patience(&self) -> Duration {
        let checkpoint = self.until_checkpoint();
        let again = self.pressure_throttle.again_in(Instant::now());
        again.map_or(checkpoint, |again| again.min(checkpoint))
    }

    fn until_checkpoint(&self) -> Duration {
        let nothing_new = self.proposed == self.boundary.next_operation();
        if nothing_new || self.streamed.is_some() || self.schedule.candidate().is_some() {
            return LONG;
        }
        if self.written >= self.pace.bytes {
            return Duration::ZERO;
        }
        self.pace.interval.saturating_sub(self.proposed_at.elapsed())
    }

    /// Whether every operation has started.
    pub(super) fn is_handed_out(&self) -> bool {
        self.schedule.next() == self.tools.manifest.operations().len() && self.streamed.is_none()
    }

    /// Whether all that has started is done and in a checkpoint, which is made now if it isn't.
    /// What streams is given up.
    pub(super) fn is_settled(&mut self) -> bool {
        if self.streamed.is_some() {
            return true;
        }
        if !self.schedule.is_idle() || self.schedule.candidate().is_some() {
            return false;
        }
        if self.proposed == self.boundary.next_operation() {
            return true;
        }
        self.propose();
        self.tend();
        false
    }

    /// The tools, once the worker pool has gone.
    pub(super) fn into_tools(self) -> Arc<Tools> {
        drop(self.worker_pool);
        self.tools
    }
}

/// Bytes that the operation writes at most.
fn bytes_of(manifest: &Manifest, operation: &Operation) -> u64 {
    let block = manifest.block_size().bytes();
    operation.destination_blocks().saturating_mul(block)
}

/// Tells the coordinator, which would wait for ever, of a panic.
struct PanicNotifier<'a>(&'a Outlet);

impl Drop for PanicNotifier<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.send(Message::Died);
        }
    }
}

impl Tools {
    /// On a thread of the worker pool.
    fn work(&self, job: Job) {
        let _last_words = PanicNotifier(&self.outlet);
        let message = match job {
            Job::Apply { op, data } => Message::Done(op.index(), self.images.apply(op, &data)),
            Job::Checkpoint(checkpoint) => Message::Checkpointed(self.checkpoint(&checkpoint)),
        };
        // Nobody listens any more: the attempt has ended.
        let _ = self.outlet.send(message);
    }

    /// Order, and what a cut between leaves:
    /// 1. everything that the operations below wrote is synced: the old checkpoint, which is still
    ///    true;
    /// 2. the record is replaced, atomically: the old checkpoint or the new one, both true.
    fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<Kept, InstallError> {
        self.images.sync()?;
        self.review.synced_below(checkpoint.next_operation());
        Ok(match self.ledger.record(checkpoint, self.entity.as_ref()) {
            Ok(()) => Kept::Recorded,
            Err(error) => Kept::Lost(error),
        })
    }
}
