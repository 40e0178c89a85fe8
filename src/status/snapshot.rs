//! The snapshot of the engine that is published, and its channels.

use tokio::sync::{mpsc, watch};

use super::{AttemptReport, Overview, Status, Tally};

/// What the engine publishes: for its own interfaces, and for whoever watches it; the latest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// For everybody.
    pub overview: Overview,
    /// For everybody, too; apart, because few ask for it: the last attempts at updates, oldest first.
    pub attempts: Vec<AttemptReport>,
    /// For those who may read the journal.
    pub diagnostics: Diagnostics,
    /// What this machine has done so far; on no bus.
    pub tally: Tally,
}

/// What not everybody may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// The last lines of the unit or check that the last remembered rollback was caused by; may be empty.
    pub rollback_output: String,
}

/// The other ends, for those who pass it on.
#[derive(Debug)]
pub struct SnapshotReceiver {
    /// Each to be signalled once, in order, none lost. Unbounded so that a bus that hangs cannot hold up an
    /// update: the protocol bounds the rate to about one in ten seconds and a hundred per download.
    pub statuses: mpsc::UnboundedReceiver<Status>,
    /// Properties; what nobody saw in time is overtaken.
    pub snapshot: watch::Receiver<Snapshot>,
}

/// Where the engine says what it does.
#[derive(Debug)]
pub struct SnapshotSender {
    /// Statuses to be signalled.
    pub statuses: mpsc::UnboundedSender<Status>,
    /// What our own interface shows.
    pub snapshot: watch::Sender<Snapshot>,
}

impl SnapshotSender {
    /// Both ends of a channel.
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
