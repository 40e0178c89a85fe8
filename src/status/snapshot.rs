//! The snapshot of the engine that is published, and its channels.

use tokio::sync::{mpsc, watch};

use super::{AttemptReport, Overview, Status, Tally};

/// The engine's published state, for the bus and for monitoring. Only the latest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Readable by anyone.
    pub overview: Overview,
    /// The last attempts at updates, oldest first; readable by anyone. Apart from the overview
    /// because few ask for them.
    pub attempts: Vec<AttemptReport>,
    /// Readable by users who may read the journal.
    pub diagnostics: Diagnostics,
    /// Counters for metrics; on no bus.
    pub tally: Tally,
}

/// Output of health checks, which only users who may read the journal may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// The last lines of the unit or check that the last remembered rollback was caused by; may be
    /// empty.
    pub rollback_output: String,
}

/// The receiving ends of a [`SnapshotSender`], for bus and monitoring.
#[derive(Debug)]
pub struct SnapshotReceiver {
    /// Each to be signalled once, in order, none lost. Unbounded so that a bus that hangs cannot
    /// hold up an update: the protocol bounds the rate to about one in ten seconds and a hundred
    /// per download.
    pub statuses: mpsc::UnboundedReceiver<Status>,
    /// The latest snapshot; earlier ones that were not read in time are gone.
    pub snapshot: watch::Receiver<Snapshot>,
}

/// The channels into which the engine publishes.
#[derive(Debug)]
pub struct SnapshotSender {
    /// Statuses to be signalled.
    pub statuses: mpsc::UnboundedSender<Status>,
    /// The latest snapshot.
    pub snapshot: watch::Sender<Snapshot>,
}

impl SnapshotSender {
    /// Both ends of the channels.
    #[must_use]
    pub fn new() -> (Self, SnapshotReceiver) {
        let (statuses, announced) = mpsc::unbounded_channel();
        let (snapshot, published) = watch::channel(Snapshot::default());
        let receiver = SnapshotReceiver {
            statuses: announced,
            snapshot: published,
        };
        (Self { statuses, snapshot }, receiver)
    }
}
