//! Commands to the engine, each with the channel for its answer.

use tokio::sync::oneshot;

use super::{Preview, Status};

/// Which offer is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferSource {
    /// The one that the last check brought: nobody is asked.
    LastCheck,
    /// The one that the server makes now. It may count that as granted.
    Server,
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
