//! Commands to the engine, each with the channel for its answer.

use tokio::sync::oneshot;

use super::{Preview, Status};

/// The offer that a preview looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferSource {
    /// The last check's offer: the server is not asked.
    LastCheck,
    /// The server's offer now. The server may count it as granted.
    Server,
}

/// The fate of the slot when its update is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitingSlot {
    /// Its attributes stay, as `ResetStatus` has always left them: it still boots next, once,
    /// unless the running slot is put first.
    Kept,
    /// It is made unbootable if it was not booted yet. One that is marked good is left alone.
    Unbootable,
}

/// A command to the engine, with the channel for its answer. A dropped sender means that the engine
/// has ended.
#[derive(Debug)]
pub enum Command {
    /// Check now, interactively. Answered once the state is `CHECKING_FOR_UPDATE` (or unchanged if
    /// not idle).
    AttemptUpdate(oneshot::Sender<()>),
    /// Back to idle; `false` while busy.
    ResetStatus(oneshot::Sender<bool>),
    /// Withdraws the update that waits for the reboot, and treats its slot as said. Refused with a
    /// sentence while the engine is busy, or when the slot can't be made unbootable; succeeds when
    /// nothing waits.
    Withdraw(WaitingSlot, oneshot::Sender<Result<(), String>>),
    /// Makes the other slot the next to boot, if it was marked good and nothing has touched it
    /// since. Refused with a sentence.
    RollBack(oneshot::Sender<Result<(), String>>),
    /// Marks the running slot good and puts it first, whatever its health. Refused with a sentence.
    MarkGood(oneshot::Sender<Result<(), String>>),
    /// Breaks off the update that is being prepared, downloaded or finished; answered as soon as
    /// that has begun. Refused with a sentence.
    Cancel(oneshot::Sender<Result<(), String>>),
    /// Looks at what would come of an attempt, without beginning one. Refused with a sentence
    /// unless idle.
    Preview(OfferSource, oneshot::Sender<Result<Preview, String>>),
    /// Returns the status.
    GetStatus(oneshot::Sender<Status>),
}
