//! Events and effects: the alphabet of [`step`](super::step).

use std::fmt;

use super::{Failure, SlotError};
use crate::config::Activation;
use crate::health::{Cause, TrialEnd};
use crate::status::{NoUpdate, Status, Trigger, WaitingSlot};

/// What the server offers, as far as status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferSummary {
    /// Version of the offer; may be empty.
    pub version: String,
    /// Size of the payload in bytes.
    pub size: u64,
}

/// The outcome of an update check: for the state machine with what status shows of the offer,
/// between the jobs with what its installation needs, too ([`Checked`](super::Checked)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome<Offer = OfferSummary> {
    /// The server has nothing for this node.
    NoUpdate,
    /// An offer that policy takes.
    Offer(Offer),
    /// No answer, a wrong one, or an offer that policy does not take now.
    Failed(Failure),
    /// The server was not asked, since nothing could be taken; and why.
    NotAsked(NoUpdate),
}

/// How a finished installation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commitment {
    /// The other slot boots next.
    Clean,
    /// The other slot boots next although the postinst reported an error (exit code 3).
    AfterError(Failure),
    /// The update is staged: the other slot doesn't boot before it is activated. The error that
    /// the postinst reported, if it did.
    Staged(Option<Failure>),
}

/// How a staged update stands that was read back and is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedReadiness {
    /// What is to activate it, by configuration.
    pub activation: Activation,
    /// What keeps it from being activated in that way, in a sentence; none if nothing does.
    pub obstacle: Option<String>,
}

/// Why a staged update can't be activated now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unconfirmed {
    /// The table says that it boots next already.
    Activated,
    /// Its slot runs.
    Runs,
    /// It isn't what was staged any more, and is forgotten.
    Void(Failure),
    /// It can't be read back now, and why.
    NotNow(String),
}

/// What became of the order to leave the running slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// The machine reboots into the other slot.
    Rebooting,
    /// Somebody has marked the running slot good meanwhile: it stays.
    GoodAfterAll,
    /// There is nothing to fall back to, or the order could not be carried out; and why.
    Stays(String),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The main loop runs: the first status may be signalled.
    Started,
    /// The scheduled time of a check (or of a ping, while a reboot is due) has come.
    CheckDue,
    /// `AttemptUpdate`.
    AttemptRequested,
    /// `ResetStatus`.
    ResetRequested,
    /// An update that waits is not wanted; and what is to become of its slot.
    WithdrawalRequested(WaitingSlot),
    /// The word that an update waits for the reboot is taken back; its slot may still be
    /// selectable.
    Forgotten,
    /// The partition table says that the running slot boots next, although the other one was waited
    /// for: somebody has changed it by hand.
    Overtaken,
    /// The slot of the withdrawn update boots no more, or why that is not sure. Of one that was
    /// staged: nothing activates it any more.
    Withdrawn(Result<(), SlotError>),
    /// An operator wants the other slot, which was good once, to boot next.
    RollbackRequested,
    /// It does, and what it holds as far as that is known; or why it doesn't.
    RolledBack(Result<String, SlotError>),
    /// An operator wants the update under way to be broken off.
    CancelRequested,
    /// An operator wants the running slot to be good, whatever its health.
    MarkGoodRequested,
    /// The running slot was found healthy, or was not in time.
    TrialEnded(TrialEnd),
    /// The running slot was left, or not.
    FellBack(Fallback),
    /// The time to try once more to mark the running slot good has come.
    MarkGoodDue,
    /// The running slot is good on disk, or why it is not.
    Marked(Result<(), SlotError>),
    /// A check ended, at this Unix time in seconds.
    Checked(CheckOutcome, i64),
    /// Everything that can be refused before the download was looked at.
    Prepared(Result<(), Failure>),
    /// So much of the payload has been downloaded that a signal is due (fraction 0..=1).
    Progressed(f64),
    /// The payload is in the slot and its hash and signature are right, or the download failed.
    Downloaded(Result<(), Failure>),
    /// The slot was verified, its postinst run and the boot attributes committed, or not.
    Finished(Result<Commitment, Failure>),
    /// The staged update was read back, and what activates it; or why that is not certain.
    Confirmed(Result<StagedReadiness, Unconfirmed>),
    /// An operator wants the staged update to boot next.
    ActivateRequested,
    /// The staged update boots next, or why not.
    Activated(Result<(), SlotError>),
    /// The server was told (or could not be: that changes nothing).
    Reported,
    /// A ping ended.
    Pinged,
    /// A check beside an update that waits for the reboot ended, at this Unix time in seconds. An
    /// offer is one of another payload than the one that waits.
    Revisited(CheckOutcome, i64),
}

/// What the server is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Event 13/1.
    DownloadStarted,
    /// Event 14/1.
    DownloadFinished,
    /// Event 3/1.
    Complete,
    /// Event 3/0, or 3/9 when the code defers the offer.
    Failed(Failure),
}

/// What is to be done, in the order given. Those that take time end in the event named.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Emit `StatusUpdate`.
    Signal(Status),
    /// Watch the running slot's health; ends in [`Event::TrialEnded`].
    WatchTrial,
    /// Leave the running slot for the other one if that boots; ends in [`Event::FellBack`].
    FallBack(Cause),
    /// Make the running slot good on disk; ends in [`Event::Marked`].
    MarkGood,
    /// Break off the job of the attempt under way, which ends in its own event.
    Cancel,
    /// Make the running slot good on disk although it may not be healthy; ends in
    /// [`Event::Marked`].
    MarkGoodAnyway,
    /// Make the other slot the next to boot, if it was good once; ends in [`Event::RolledBack`].
    RollBack,
    /// Look again in a while whether the running slot may be made good.
    MarkGoodLater,
    /// Ask the server; ends in [`Event::Checked`].
    Check(Trigger),
    /// Look at everything that can be refused before the download; ends in [`Event::Prepared`].
    Prepare,
    /// Tell the server; ends in [`Event::Reported`].
    Report(Report),
    /// Write the other slot; ends in [`Event::Downloaded`].
    Download,
    /// Verify, run the postinst, commit; ends in [`Event::Finished`].
    Finish,
    /// Ping the server, or ask it for another update than the one that waits; ends in
    /// [`Event::Pinged`] or [`Event::Revisited`]. By an operator's order the latter or nothing.
    Revisit(Trigger),
    /// Remember for as long as this boot lasts that the other slot boots next.
    RememberPending,
    /// Forget that the other slot boots next.
    ForgetPending,
    /// Forget that, and make the other slot unbootable; ends in [`Event::Withdrawn`].
    Withdraw,
    /// Read the staged update back, and hold its slot from then on; ends in [`Event::Confirmed`].
    Confirm,
    /// Make the staged update the next to boot; ends in [`Event::Activated`].
    Activate,
    /// Break off reading the staged update back, and see to it that nothing activates it any more;
    /// ends in [`Event::Withdrawn`].
    Unstage,
    /// Tell the server that the node is alive; ends in [`Event::Pinged`].
    Ping,
    /// Choose the time of the next check, unless one is chosen already.
    Schedule,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "start",
            Self::CheckDue => "a scheduled check",
            Self::AttemptRequested => "AttemptUpdate",
            Self::ResetRequested => "ResetStatus",
            Self::WithdrawalRequested(_) => "a withdrawal",
            Self::RollbackRequested => "a rollback",
            Self::RolledBack(_) => "the end of a rollback",
            Self::CancelRequested => "a cancel",
            Self::MarkGoodRequested => "marking the running slot good",
            Self::Forgotten => "the end of a wait for the reboot",
            Self::Overtaken => "the running slot's place before the other one",
            Self::Withdrawn(_) => "the end of a withdrawal",
            Self::TrialEnded(_) => "the end of a trial",
            Self::FellBack(_) => "the end of a fallback",
            Self::MarkGoodDue => "the time to mark the running slot good",
            Self::Marked(_) => "the end of marking the running slot good",
            Self::Checked(..) => "the end of a check",
            Self::Prepared(_) => "the end of preparations",
            Self::Progressed(_) => "progress of a download",
            Self::Downloaded(_) => "the end of a download",
            Self::Finished(_) => "the end of an installation",
            Self::Confirmed(_) => "the end of reading a staged update back",
            Self::ActivateRequested => "an activation",
            Self::Activated(_) => "the end of an activation",
            Self::Reported => "the end of a report",
            Self::Pinged => "the end of a ping",
            Self::Revisited(..) => "the end of a check beside an update that waits",
        })
    }
}
