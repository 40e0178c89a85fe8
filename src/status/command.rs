//! Commands to the engine, each with the channel for its answer; and the largest of the answers, the
//! `Preview` of an update's outcome.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use zbus::wire::{Type, Variant};

use super::Status;

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

/// The engine's refusal of a command, a sentence for people. Nothing was changed, but where
/// [`Self::Slots`] says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefusal {
    /// The command has no meaning in the engine's state; the sentence names both.
    #[error("{0}")]
    NotNow(String),
    /// Slots or records forbid what was asked, or couldn't be read or written; the sentence says
    /// what and why.
    #[error("{0}")]
    Slots(String),
    /// Another caller has cancelled the same attempt, and waits for its end.
    #[error("the update is being broken off already")]
    CancelledAlready,
    /// The attempt had succeeded before it could be cancelled.
    #[error("it was too late: the update is installed")]
    TooLate,
    /// Another caller waits for a preview.
    #[error("somebody else has just asked the same")]
    PreviewedAlready,
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
    /// Withdraws the update that waits for the reboot, and treats its slot as said. Refused
    /// while the engine is busy, or when the slot can't be made unbootable; succeeds when
    /// nothing waits.
    Withdraw(WaitingSlot, oneshot::Sender<Result<(), CommandRefusal>>),
    /// Makes the staged update the next to boot.
    Activate(oneshot::Sender<Result<(), CommandRefusal>>),
    /// Makes the other slot the next to boot, if it was marked good and nothing has touched it
    /// since.
    RollBack(oneshot::Sender<Result<(), CommandRefusal>>),
    /// Marks the running slot good and puts it first, whatever its health.
    MarkGood(oneshot::Sender<Result<(), CommandRefusal>>),
    /// Breaks off the update that is being prepared, downloaded or finished; answered as soon as
    /// that has begun.
    Cancel(oneshot::Sender<Result<(), CommandRefusal>>),
    /// Looks at what would come of an attempt, without beginning one. Refused unless idle.
    Preview(OfferSource, oneshot::Sender<Result<Preview, CommandRefusal>>),
    /// Returns the status.
    GetStatus(oneshot::Sender<Status>),
}

/// The likely outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum Prospect {
    /// The attempt would download and install: nothing that is known speaks against it.
    Install,
    /// The attempt may fail: something could not be found out, or speaks against it.
    Doubtful,
    /// The server offers nothing, or no offer is known.
    NothingOffered,
    /// Updates are switched off, or policy or the server refuses.
    PutOff,
    /// The attempt would fail.
    Fail,
}

/// The result of one preflight check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s", rename_all = "kebab-case")]
pub enum CheckResult {
    /// Nothing is wrong.
    Ok,
    /// It refuses nothing now, and may make an update fail later.
    Doubtful,
    /// It refuses the update.
    Failed,
}

/// One preflight check and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct PreflightCheck {
    /// The subject of the check, such as `slot` or `payload`.
    pub subject: String,
    /// The check's result.
    pub result: CheckResult,
    /// The value found, or what is wrong with it.
    pub found: String,
    /// The number that the server would be told, if it failed.
    pub code: Option<u32>,
}

/// The preview of an attempt that an operator would ask for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct Preview {
    /// The likely outcome.
    pub prospect: Prospect,
    /// The likely outcome in a sentence.
    pub summary: String,
    /// The number that the server would be told, if there would be a failure.
    pub code: Option<u32>,
    /// When the server answered: Unix time in seconds.
    pub answered: Option<i64>,
    /// The offered version.
    pub version: Option<String>,
    /// SHA-256 of the payload: 64 lower-case hexadecimal digits.
    pub payload_sha256: Option<String>,
    /// Size of the payload in bytes.
    pub bytes_total: Option<u64>,
    /// The slot that would be written.
    pub slot: Option<String>,
    /// The preflight checks; empty where none were run.
    pub checks: Vec<PreflightCheck>,
}
