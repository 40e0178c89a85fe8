//! The thread that owns reader, schedule and checkpoint.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;

use payload_format::{Checkpoint, Event, Finished, ImageKind, Manifest, Reader};
use tokio_util::sync::CancellationToken;

use super::images::OpenImages;
use super::messages::{Message, Messages, Outlet, StreamEnd};
use super::read_back_thread::ReadBackThread;
use super::reader_input::ReaderInput;
use super::work::{EventOutcome, Tools, Work};
use super::{Written, unwritten_blocks};
use crate::disk::give_back_free_memory;
use crate::fetch::Entity;
use crate::install::attempt::{AttemptSetup, trusted_keys};
use crate::install::read_back::ReadBack;
use crate::install::targets::Targets;
use crate::install::unbootable::{self, Beginning};
use crate::install::{InstallError, dirty_partitions, manifest_checks};

/// Where an attempt begins.
pub(super) enum StartPoint {
    /// With the payload's first byte.
    Fresh(Reader),
    /// With a checkpoint's next operation.
    Resumed {
        reader: Reader,
        manifest: Arc<Manifest>,
        /// Header and manifest.
        metadata: Vec<u8>,
        checkpoint: Box<Checkpoint>,
    },
}

impl StartPoint {
    /// First byte of the payload that is needed.
    pub(super) const fn offset(&self) -> u64 {
        match self {
            Self::Fresh(_) => 0,
            Self::Resumed { checkpoint, .. } => checkpoint.offset(),
        }
    }
}

/// What the coordinator works on and with.
pub(super) struct Coordinator {
    pub(super) attempt: Arc<AttemptSetup>,
    pub(super) targets: Arc<Targets>,
    /// Which file the bytes come from.
    pub(super) entity: Option<Entity>,
    pub(super) outlet: Outlet,
    pub(super) cancel: CancellationToken,
}

impl Coordinator {
    /// Runs until everything is on the medium, or the attempt has ended.
    ///
    /// # Errors
    /// Whatever ended it.
    pub(super) fn run(self, start: StartPoint, messages: &Messages) -> Result<Written, InstallError> {
        let (mut input, mut work) = match start {
            StartPoint::Fresh(reader) => {
                let (input, first) = Input::new(reader, messages).metadata()?;
                let work = self.open(&first.manifest, &first.bytes, first.end, Beginning::Fresh)?;
                (input, work)
            }
            StartPoint::Resumed {
                reader,
                manifest,
                metadata,
                checkpoint,
            } => (
                Input::new(reader, messages),
                self.open(&manifest, &metadata, *checkpoint, Beginning::Resumed)?,
            ),
        };
        // The metadata as it came, and what its checks took, have gone.
        give_back_free_memory();
        input.work_off(&mut work)?;
        let finished = input.reader.finish().map_err(InstallError::Format)?;
        self.finish(work, &finished)
    }

    /// Passes the gate: from here on the slot is ours, and nobody's to boot.
    fn open(
        &self,
        manifest: &Arc<Manifest>,
        metadata: &[u8],
        at: Checkpoint,
        beginning: Beginning,
    ) -> Result<Work, InstallError> {
        manifest_checks::check(&self.attempt, manifest, metadata, &self.targets, &self.cancel)?;
        let ledger = unbootable::make_unbootable(&self.attempt, manifest, metadata, beginning)?;
        let tools = Tools {
            manifest: Arc::clone(manifest),
            images: OpenImages::open(&self.attempt, manifest, &self.targets)?,
            ledger,
            entity: self.entity.clone(),
            outlet: self.outlet.clone(),
            review: ReadBackThread::begin(manifest, self.read_back(manifest), &self.cancel),
            host: self.attempt.site.host.clone(),
        };
        Ok(Work::new(self.attempt.site.pace, tools, at, beginning))
    }

    /// All operations are done: whether they may be trusted, and what they left over.
    fn finish(&self, work: Work, finished: &Finished) -> Result<Written, InstallError> {
        self.trust(finished)?;
        let tools = work.into_tools();
        unwritten_blocks::copy(&self.attempt, &tools.manifest, &tools.images, &self.cancel)?;
        for dirty in dirty_partitions::left_out(&self.attempt, &tools.manifest, &self.targets)? {
            dirty_partitions::copy(&self.attempt, dirty, &self.cancel)?;
        }
        tools.images.sync()?;
        let manifest = Arc::clone(&tools.manifest);
        let begun = Arc::into_inner(tools).and_then(|tools| tools.review.end());
        Ok(Written {
            // The worker pool has gone, so that nobody else holds the tools; nothing would be lost
            // but time.
            read_back: begun.unwrap_or_else(|| self.read_back(&manifest)),
            manifest,
        })
    }

    /// Nothing of the slot was read back yet.
    fn read_back(&self, manifest: &Manifest) -> ReadBack {
        let size = manifest.image(ImageKind::Slot).map_or(0, |image| image.new.size);
        ReadBack::new(Arc::clone(&self.targets.slot), size)
    }

    fn trust(&self, finished: &Finished) -> Result<(), InstallError> {
        let plan = &self.attempt.plan;
        let expected = plan.payload_sha256;
        if finished.payload_sha256 != expected {
            return Err(InstallError::PayloadHash {
                expected,
                found: finished.payload_sha256,
            });
        }
        let keys = trusted_keys(&plan.public_keys)?;
        finished.verify(&keys).map_err(InstallError::Signature)
    }
}

/// What comes before the first operation.
struct ReadMetadata {
    manifest: Arc<Manifest>,
    /// As it came.
    bytes: Vec<u8>,
    /// The place after it.
    end: Checkpoint,
}

/// The payload as it comes in.
struct Input<'a> {
    messages: &'a Messages,
    reader: ReaderInput,
    end: Option<StreamEnd>,
}

impl<'a> Input<'a> {
    const fn new(reader: Reader, messages: &'a Messages) -> Self {
        Self {
            messages,
            reader: ReaderInput::new(reader),
            end: None,
        }
    }

    /// Waits for header and manifest.
    fn metadata(mut self) -> Result<(Self, ReadMetadata), InstallError> {
        loop {
            if let Some(Event::Metadata { manifest, bytes, .. }) = self.next()?
                && let Some(end) = self.reader.checkpoint()
            {
                let metadata = ReadMetadata { manifest, bytes, end };
                return Ok((self, metadata));
            }
            match self.end.take() {
                Some(StreamEnd::Complete) => {
                    let truncated = self.reader.finish().err();
                    // A payload that is complete has given its metadata: this is never the other.
                    return Err(truncated.map_or(InstallError::Cancelled, InstallError::Format));
                }
                Some(StreamEnd::Stopped(error)) => return Err(error),
                None => {}
            }
            match self.messages.recv() {
                Ok(Message::Chunk(chunk)) => self.reader.push(chunk),
                Ok(Message::StreamEnd(end)) => self.end = Some(end),
                // There is no work yet that could send anything else, and we hold a sender
                // ourselves.
                Ok(Message::Done(..) | Message::Died | Message::Checkpointed(_)) | Err(_) => {}
            }
        }
    }

    fn next(&mut self) -> Result<Option<Event>, InstallError> {
        self.reader.next().map_err(InstallError::Format)
    }

    /// Has all operations done, in parallel as far as they let it.
    fn work_off(&mut self, work: &mut Work) -> Result<(), InstallError> {
        let mut waiting = None;
        loop {
            let may_read = work.may_read(self.reader.due());
            let event = match waiting.take() {
                None if !self.is_stopped() && may_read => self.next()?,
                waiting => waiting,
            };
            if let Some(event) = event.filter(|_| !self.is_stopped()) {
                match work.offer(event)? {
                    EventOutcome::Taken => {
                        work.passed(self.reader.checkpoint());
                        continue;
                    }
                    EventOutcome::Later(event) => waiting = Some(event),
                }
            }
            work.tend();
            let is_held = !may_read && !self.is_stopped();
            if waiting.is_none() && !is_held && self.is_over(work)? {
                return Ok(());
            }
            self.hear(work)?;
        }
    }

    const fn is_stopped(&self) -> bool {
        matches!(self.end, Some(StreamEnd::Stopped(_)))
    }

    /// Whether nothing is left to be done. What was stopped is over once a checkpoint vouches for
    /// what had been done until then.
    fn is_over(&mut self, work: &mut Work) -> Result<bool, InstallError> {
        match &self.end {
            None => Ok(false),
            // The payload ended too early: the reader says where.
            Some(StreamEnd::Complete) if !work.is_handed_out() => Ok(true),
            Some(_) if !work.is_settled() => Ok(false),
            Some(StreamEnd::Complete) => Ok(true),
            Some(StreamEnd::Stopped(_)) => match self.end.take() {
                Some(StreamEnd::Stopped(error)) => Err(error),
                _ => Ok(false),
            },
        }
    }

    /// Waits for the next message, no longer than until a checkpoint is due.
    fn hear(&mut self, work: &mut Work) -> Result<(), InstallError> {
        match self.messages.recv_timeout(work.patience()) {
            Ok(Message::Chunk(chunk)) => self.reader.push(chunk),
            // The feed says it once more when it goes.
            Ok(Message::StreamEnd(end)) => {
                self.end.get_or_insert(end);
            }
            Ok(Message::Done(operation, result)) => {
                result?;
                work.done(operation);
            }
            // Dropping the work joins the worker pool, which passes the panic on.
            Ok(Message::Died) => return Err(InstallError::Cancelled),
            Ok(Message::Checkpointed(result)) => work.checkpointed(result?)?,
            // Timeout: a checkpoint is due. The other can't be: we hold a sender ourselves.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        Ok(())
    }
}
