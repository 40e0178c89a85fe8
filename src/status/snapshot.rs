//! Snapshot that the engine publishes: the status in the words of the original's interface,
//! `com.coreos.update1.Manager`, the snapshot of all that it knows, and the channels of both.

use tokio::sync::{mpsc, watch};

use super::{AttemptReport, HealthReport, Overview, Tally};

/// The engine's operation, as `com.coreos.update1.Manager` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Nothing is under way.
    Idle,
    /// Asking the Omaha server.
    CheckingForUpdate,
    /// An offer was taken; the download has not begun.
    UpdateAvailable,
    /// Downloading and writing the payload.
    Downloading,
    /// Verifying, running the postinst, committing.
    Finalizing,
    /// The other slot boots next.
    UpdatedNeedReboot,
    /// Telling the server about a failure.
    ReportingErrorEvent,
}

impl Operation {
    /// The string on the bus.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "UPDATE_STATUS_IDLE",
            Self::CheckingForUpdate => "UPDATE_STATUS_CHECKING_FOR_UPDATE",
            Self::UpdateAvailable => "UPDATE_STATUS_UPDATE_AVAILABLE",
            Self::Downloading => "UPDATE_STATUS_DOWNLOADING",
            Self::Finalizing => "UPDATE_STATUS_FINALIZING",
            Self::UpdatedNeedReboot => "UPDATE_STATUS_UPDATED_NEED_REBOOT",
            Self::ReportingErrorEvent => "UPDATE_STATUS_REPORTING_ERROR_EVENT",
        }
    }
}

/// The five fields of `GetStatus` and `StatusUpdate`.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Unix time, seconds, of the last successful update check; 0 after a start.
    pub last_checked_time: i64,
    /// Fraction of the payload's bytes that have come, 0 to 1.
    pub progress: f64,
    /// The engine's operation.
    pub operation: Operation,
    /// Version of the offer, `0.0.0` if none.
    pub new_version: String,
    /// Size of the offer's payload in bytes, 0 if none.
    pub new_size: i64,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            last_checked_time: 0,
            progress: 0.0,
            operation: Operation::Idle,
            new_version: "0.0.0".to_owned(),
            new_size: 0,
        }
    }
}

/// The engine's published state, for the bus and for monitoring. Only the latest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Readable by anyone.
    pub overview: Overview,
    /// The last attempts at updates, oldest first; readable by anyone. Apart from the overview
    /// because few ask for them.
    pub attempts: Vec<AttemptReport>,
    /// What the gate without configuration requires and found; readable by anyone. Apart from the
    /// overview likewise.
    pub health: HealthReport,
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
