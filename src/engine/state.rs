//! The engine's state: phase, running slot, offer, and the outcome of the last check and attempt.

use std::fmt;

use super::Failure;
use super::event::OfferSummary;
use crate::config::Activation;
use crate::journal::MessageId;
use crate::status::{EngineState, LastCheck, NoUpdate, Obstacle, Operation, Status, Trigger};

/// Whether the running slot may be relied on to boot again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunningSlotState {
    /// Not looked at since the start.
    Unknown,
    /// Being made good.
    Marking,
    /// Good on disk.
    Good,
    /// Still on trial, and why: nothing may be installed.
    OnTrial(String),
}

/// Where an attempt stands. Each phase but the resting ones waits for exactly one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Nothing under way.
    Idle,
    /// The running slot is being made good, then the server is asked.
    Checking(Trigger),
    /// An offer was taken and is looked at from all sides.
    Preparing,
    /// The server is being told that the download starts.
    Announcing,
    /// The other slot is being written.
    Downloading(Flow),
    /// The server is being told that the download ended.
    Downloaded,
    /// Verification, postinst, commit.
    Finishing,
    /// The server is being told that all went well.
    Completing,
    /// The other slot boots next.
    NeedReboot,
    /// The other slot holds a staged update and is being read back.
    Confirming,
    /// The other slot holds a staged update, was read back, and is held; and what activates it.
    Staged(Activation),
    /// The other slot holds a staged update and could not be read back, and why: nothing activates
    /// it.
    Unconfirmed(String),
    /// The staged update is being made the next to boot; and what was to activate it.
    Activating(Activation),
    /// The other slot is being made unbootable; and where the engine rests if it is not.
    Withdrawing(Afterwards),
    /// The other slot is being made the next to boot, as it is.
    RollingBack,
    /// The server is being told what went wrong.
    Reporting(Failure, Afterwards),
}

/// What a reboot that is waited for is to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextBoot {
    /// An update.
    Update,
    /// What ran before.
    Rollback,
}

/// Whether bytes of the payload have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Not yet: the status still says that an update is available.
    Awaited,
    /// The attempt has told so: the status is that of its operation.
    Begun,
}

/// Where the engine rests after something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// No update waits.
    Idle,
    /// The other slot boots next all the same.
    NeedReboot,
    /// An update is staged in the other slot all the same.
    Staged,
}

/// An update that waits for the reboot, or is staged, until another one takes its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Superseded {
    /// What it is, unless an earlier process installed it.
    pub(super) offer: Option<OfferSummary>,
    /// Whether it is staged, and doesn't boot next.
    pub(super) is_staged: bool,
}

/// The engine's state; only [`step`](super::step) changes it.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub(super) phase: Phase,
    pub(super) running: RunningSlotState,
    pub(super) last_checked: i64,
    pub(super) offer: Option<OfferSummary>,
    /// What waits for the reboot while another update is looked at that is to take its place.
    pub(super) superseded: Option<Superseded>,
    pub(super) next_boot: NextBoot,
    /// What keeps a staged update from being activated, in a sentence.
    pub(super) staged_obstacle: Option<String>,
    pub(super) progress: f64,
    pub(super) last_failure: Option<Failure>,
    pub(super) last_check: Option<LastCheck>,
    pub(super) no_update: Option<NoUpdate>,
}

impl State {
    /// After a start with nothing pending.
    #[must_use]
    pub fn idle() -> Self {
        Self {
            phase: Phase::Idle,
            running: RunningSlotState::Unknown,
            last_checked: 0,
            offer: None,
            superseded: None,
            next_boot: NextBoot::Update,
            staged_obstacle: None,
            progress: 0.0,
            last_failure: None,
            last_check: None,
            no_update: None,
        }
    }

    /// After a start while an earlier process's update waits for the reboot. The running slot was
    /// good then; marking it once more would put it before the slot that is to boot next.
    #[must_use]
    pub fn reboot_pending() -> Self {
        Self {
            phase: Phase::NeedReboot,
            running: RunningSlotState::Good,
            ..Self::idle()
        }
    }

    /// After a start while an earlier process's rollback to `version`, if that is known, waits for
    /// the reboot.
    #[must_use]
    pub fn rollback_pending(version: Option<String>) -> Self {
        Self {
            next_boot: NextBoot::Rollback,
            offer: version.map(|version| OfferSummary { version, size: 0 }),
            ..Self::reboot_pending()
        }
    }

    /// After a start while `version`, staged by an earlier process, is still to be read back. The
    /// other slot doesn't boot, so that the running one may be marked.
    #[must_use]
    pub fn staged(version: String) -> Self {
        Self {
            phase: Phase::Confirming,
            offer: Some(OfferSummary { version, size: 0 }),
            ..Self::idle()
        }
    }

    /// The clock went forward by so many seconds, or back: so do the times that were noted before.
    pub(super) fn clock_stepped(&mut self, by: i64) {
        if self.last_checked != 0 {
            self.last_checked = self.last_checked.saturating_add(by);
        }
        if let Some(check) = &mut self.last_check {
            check.time = check.time.saturating_add(by);
        }
        // What counts by a clock that nobody sets: see `HoldOff`.
        let quiet = self
            .no_update
            .as_mut()
            .filter(|no_update| no_update.kind == Obstacle::RolledBack);
        if let Some(until) = quiet.and_then(|no_update| no_update.until.as_mut()) {
            *until = until.saturating_add(by);
        }
    }

    /// Where the attempt stands.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether the running slot was not found good yet, and nobody is looking.
    pub(super) fn is_on_trial(&self) -> bool {
        matches!(
            self.running,
            RunningSlotState::Unknown | RunningSlotState::OnTrial(_)
        )
    }

    /// Whether the engine may have to be told that no update waits for the reboot any more.
    pub(super) fn may_be_forgotten(&self) -> bool {
        self.superseded.is_some() || matches!(self.phase, Phase::Withdrawing(_))
    }

    /// Why the last attempt failed, if it did.
    #[must_use]
    pub fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    /// The five fields that the bus shows.
    #[must_use]
    pub fn status(&self) -> Status {
        let nothing = Status::default();
        let (new_version, new_size) = match &self.offer {
            Some(offer) => (
                offer.version.clone(),
                i64::try_from(offer.size).unwrap_or(i64::MAX),
            ),
            None => (nothing.new_version, nothing.new_size),
        };
        Status {
            last_checked_time: self.last_checked,
            progress: self.progress,
            operation: self.phase.operation(),
            new_version,
            new_size,
        }
    }
}

impl Phase {
    /// Whether what was installed only waits to be booted or activated.
    pub(super) const fn waits(&self) -> bool {
        matches!(self, Self::NeedReboot | Self::Staged(_))
    }

    /// The word for it on the bus.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Idle | Self::RollingBack | Self::Withdrawing(Afterwards::Idle | Afterwards::Staged) => {
                Operation::Idle
            }
            Self::Checking(_) => Operation::CheckingForUpdate,
            Self::Preparing | Self::Announcing | Self::Downloading(Flow::Awaited) => {
                Operation::UpdateAvailable
            }
            Self::Downloading(Flow::Begun) => Operation::Downloading,
            Self::Downloaded
            | Self::Finishing
            | Self::Confirming
            | Self::Activating(Activation::AtOnce)
            | Self::Completing => Operation::Finalizing,
            // The managers' reboot is the orderly one that activates it.
            Self::Staged(Activation::Reboot) | Self::Activating(Activation::Reboot) => {
                Operation::UpdatedNeedReboot
            }
            Self::Staged(_) | Self::Activating(_) | Self::Unconfirmed(_) => Operation::Idle,
            Self::NeedReboot | Self::Withdrawing(Afterwards::NeedReboot) => Operation::UpdatedNeedReboot,
            Self::Reporting(..) => Operation::ReportingErrorEvent,
        }
    }

    /// The journal's identifier of a failure that ends the phase.
    #[must_use]
    pub(super) const fn message_id(&self, failure: &Failure) -> MessageId {
        match failure.obstacle {
            Obstacle::Backoff | Obstacle::Disabled | Obstacle::RolledBack | Obstacle::OnTrial => {
                MessageId::Deferred
            }
            _ if failure.code.is_fault_of_payload() => MessageId::PayloadRefused,
            _ if matches!(self, Self::Checking(_)) => MessageId::CheckFailed,
            _ => MessageId::Failed,
        }
    }

    /// The word for it in our own interface.
    #[must_use]
    pub const fn engine_state(&self) -> EngineState {
        match self {
            Self::Idle => EngineState::Idle,
            Self::Checking(_) => EngineState::Checking,
            Self::Preparing | Self::Announcing | Self::Downloading(Flow::Awaited) => EngineState::Preparing,
            Self::Downloading(Flow::Begun) => EngineState::Downloading,
            Self::Downloaded | Self::Finishing | Self::Confirming | Self::Completing => {
                EngineState::Finishing
            }
            Self::NeedReboot => EngineState::RebootNeeded,
            Self::Staged(Activation::Reboot) => EngineState::StagedForReboot,
            Self::Staged(_) | Self::Unconfirmed(_) => EngineState::Staged,
            Self::Activating(_) => EngineState::Activating,
            Self::Withdrawing(_) => EngineState::Withdrawing,
            Self::RollingBack => EngineState::RollingBack,
            Self::Reporting(..) => EngineState::Reporting,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "nothing is under way",
            Self::Checking(_) => "a check is under way",
            Self::Preparing => "an update is being prepared",
            Self::Announcing => "a download is being announced",
            Self::Downloading(_) => "a download is under way",
            Self::Downloaded => "the end of a download is being reported",
            Self::Finishing => "an update is being finished",
            Self::Completing => "a finished update is being reported",
            Self::NeedReboot => "an update waits for the reboot",
            Self::Confirming => "a staged update is being read back",
            Self::Staged(_) => "an update is staged",
            Self::Unconfirmed(_) => "an update is staged that could not be read back",
            Self::Activating(_) => "a staged update is being activated",
            Self::Withdrawing(_) => "an update is being withdrawn",
            Self::RollingBack => "a rollback is under way",
            Self::Reporting(..) => "a failure is being reported",
        })
    }
}
