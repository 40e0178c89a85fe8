//! The messages to the coordinator.

use std::sync::mpsc;

use bytes::Bytes;
use payload_format::ApplyError;
use tokio::sync::OwnedSemaphorePermit;

use crate::install::InstallError;
use crate::store::record::RecordError;

/// Bytes of the payload, on loan from the read-ahead until dropped.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// Why no more bytes come.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// All bytes of the payload have come.
    Complete,
    /// The network gave up, or nobody wants the update any more.
    Stopped(InstallError),
}

/// What the coordinator is told.
#[derive(Debug)]
pub(super) enum Message {
    /// More bytes.
    Chunk(Chunk),
    /// No more bytes.
    StreamEnd(StreamEnd),
    /// A worker is done with the operation of this index.
    Done(usize, Result<(), ApplyError>),
    /// A worker panicked: its operation never ends. The panic itself comes out when the worker pool
    /// is joined.
    Died,
    /// What was asked to be made durable is on the medium, and perhaps recorded.
    Checkpointed(Result<Kept, InstallError>),
}

/// What became of a checkpoint.
#[derive(Debug)]
pub(super) enum Kept {
    /// A restart goes on from there.
    Recorded,
    /// The record can't be written.
    Lost(RecordError),
}

/// Where messages wait. Unbounded, and bounded all the same: chunks by the read-ahead, the others
/// by what the coordinator itself has asked for.
pub(super) type Messages = mpsc::Receiver<Message>;

/// The senders' end.
pub(super) type Outlet = mpsc::Sender<Message>;
