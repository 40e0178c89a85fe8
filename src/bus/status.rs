//! The vocabulary between the bus and the engine.

use tokio::sync::oneshot;

use super::{OfferSource, Preview};

/// What the engine is doing, in the words of the `com.coreos.update1.Manager` interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Nothing under way.
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
    /// Fraction 0..=1 of the payload's bytes.
    pub progress: f64,
    /// What the engine is doing.
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

/// What becomes of the slot of an update that is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitingSlot {
    /// Its attributes stay, as `ResetStatus` has always left them: it still boots next, once, unless the
    /// running slot is put first.
    Kept,
    /// It is made unbootable if it was not booted yet. One that is marked good is left alone.
    Unbootable,
}

/// What a bus client asks of the engine. Each carries where the answer goes; a dropped sender means
/// that the engine is gone.
#[derive(Debug)]
pub enum Command {
    /// Check now, interactively. Answered once the state is `CHECKING_FOR_UPDATE` (or unchanged if not idle).
    AttemptUpdate(oneshot::Sender<()>),
    /// Back to idle; `false` while busy.
    ResetStatus(oneshot::Sender<bool>),
    /// Takes back that an update waits for the reboot, and does with its slot what is said. Refused with a
    /// sentence while busy, or when the slot can't be made unbootable; fine when nothing waits.
    Withdraw(WaitingSlot, oneshot::Sender<Result<(), String>>),
    /// Makes the other slot the next to boot, if it was marked good and nothing has touched it since. Refused
    /// with a sentence.
    RollBack(oneshot::Sender<Result<(), String>>),
    /// Marks the running slot good and puts it first, whatever its health. Refused with a sentence.
    MarkGood(oneshot::Sender<Result<(), String>>),
    /// Breaks off the update that is being prepared, downloaded or finished; answered as soon as that has begun. Refused
    /// with a sentence.
    Cancel(oneshot::Sender<Result<(), String>>),
    /// Looks at what would come of an attempt, without beginning one. Refused with a sentence unless idle.
    Preview(OfferSource, oneshot::Sender<Result<Preview, String>>),
    /// The status now.
    GetStatus(oneshot::Sender<Status>),
}
