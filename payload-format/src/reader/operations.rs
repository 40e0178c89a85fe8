//! Operations' data, in manifest order.

use std::sync::Arc;

use super::{Checkpoint, Event, FormatError, Intake, SignatureBlob};
use crate::digest::{RunningHash, Sha256Digest};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::op_id::OpId;
use crate::operation::{Data, Operation};

/// Bytes of a piece of streamed data.
const PIECE: u64 = 1 << 20;

/// The operations that are still to come.
#[derive(Debug)]
pub(super) struct Operations {
    manifest: Arc<Manifest>,
    /// After the last operation that was handed out whole.
    done: Checkpoint,
    buffer: Vec<u8>,
    /// Bytes of content that are still to come, after all operations.
    content_left: u64,
    /// Set while an operation's data streams.
    streaming: Option<Streaming>,
}

#[derive(Debug, Default)]
struct Streaming {
    taken: u64,
    hash: RunningHash,
}

impl Operations {
    pub(super) fn at(manifest: Arc<Manifest>, done: Checkpoint) -> Self {
        Self {
            content_left: manifest.content().map_or(0, |content| content.data_len()),
            manifest,
            done,
            buffer: Vec::new(),
            streaming: None,
        }
    }

    pub(super) fn resume(
        manifest: Arc<Manifest>,
        metadata_len: u64,
        checkpoint: &Checkpoint,
    ) -> Result<Self, FormatError> {
        let done = manifest
            .operations()
            .get(..checkpoint.next.index())
            .ok_or(FormatError::ForeignCheckpoint)?;
        let data: u64 = done.iter().map(Operation::data_len).sum();
        if metadata_len.saturating_add(data) != checkpoint.offset {
            return Err(FormatError::ForeignCheckpoint);
        }
        Ok(Self::at(manifest, checkpoint.clone()))
    }

    /// The operation whose data is read next, if there is one.
    pub(super) fn due(&self) -> Option<OpId> {
        self.manifest
            .operation(self.done.next)
            .map(|operation| operation.id)
    }

    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.done
    }

    /// Once every operation was handed out: what follows.
    pub(super) fn complete(&self) -> Option<SignatureBlob> {
        let complete = self.manifest.operation(self.done.next).is_none() && self.content_left == 0;
        complete.then(|| SignatureBlob {
            len: self.manifest.signatures_len(),
            version: self.manifest.version(),
            blob: Vec::new(),
            signed: self.done.hashes.signed().value(),
            done: self.done.clone(),
        })
    }

    /// Reads on; the next event once it is whole.
    pub(super) fn read(
        &mut self,
        intake: &mut Intake,
        limits: &Limits,
        input: &mut &[u8],
    ) -> Result<Option<Event>, FormatError> {
        let Some(operation) = self.manifest.operation(self.done.next) else {
            return Ok(self.content(intake, input));
        };
        let (op, data) = (operation.id, operation.data);
        match data {
            None => Ok(Some(self.operation_done(op, intake))),
            Some(data) if data.len <= limits.whole_data => self.whole(op, data, intake, input),
            Some(data) => self.piece(op, data, intake, input),
        }
    }

    /// The next piece of a content payload's packed chunks: nobody here knows where one ends. Its
    /// hashes are not looked at either: they are of content, which only a builder has.
    fn content(&mut self, intake: &mut Intake, input: &mut &[u8]) -> Option<Event> {
        let len = self.content_left.min(PIECE);
        if len == 0 || !intake.fill(&mut self.buffer, len, input) {
            return None;
        }
        self.content_left -= len;
        self.done.offset = intake.offset;
        self.done.hashes = intake.hashes.clone();
        let data = std::mem::take(&mut self.buffer);
        Some(Event::Content { data })
    }

    fn whole(
        &mut self,
        op: OpId,
        data: Data,
        intake: &mut Intake,
        input: &mut &[u8],
    ) -> Result<Option<Event>, FormatError> {
        if self.buffer.is_empty() {
            // Within the limit for whole data; growth by doubling would take up to twice that.
            self.buffer.reserve_exact(usize::try_from(data.len).unwrap_or(0));
        }
        if !intake.fill(&mut self.buffer, data.len, input) {
            return Ok(None);
        }
        check_hash(op, Sha256Digest::of(&self.buffer), data.sha256)?;
        Ok(Some(self.operation_done(op, intake)))
    }

    fn operation_done(&mut self, op: OpId, intake: &Intake) -> Event {
        self.advance(op, intake);
        Event::Operation {
            op,
            data: std::mem::take(&mut self.buffer),
        }
    }

    fn advance(&mut self, op: OpId, intake: &Intake) {
        self.done.next = op.next();
        self.done.offset = intake.offset;
        self.done.hashes = intake.hashes.clone();
    }

    fn piece(
        &mut self,
        op: OpId,
        data: Data,
        intake: &mut Intake,
        input: &mut &[u8],
    ) -> Result<Option<Event>, FormatError> {
        let streaming = self.streaming.get_or_insert_default();
        let left = data.len - streaming.taken;
        if left == 0 {
            check_hash(op, streaming.hash.value(), data.sha256)?;
            self.streaming = None;
            self.advance(op, intake);
            return Ok(Some(Event::PiecesVerified { op }));
        }
        let len = left.min(PIECE);
        if !intake.fill(&mut self.buffer, len, input) {
            return Ok(None);
        }
        streaming.taken += len;
        streaming.hash.update(&self.buffer);
        Ok(Some(Event::Piece {
            op,
            data: std::mem::take(&mut self.buffer),
        }))
    }
}

fn check_hash(op: OpId, found: Sha256Digest, expected: Sha256Digest) -> Result<(), FormatError> {
    if found == expected {
        return Ok(());
    }
    Err(FormatError::OperationHash { op, found, expected })
}
