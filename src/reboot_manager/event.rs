//! Events, the input of the decisions, and effects, their output.

use super::state::{FailedVersion, HoldRecord, Reason, WantedReboot};

/// The engine as it was last read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EngineView {
    /// It doesn't answer, or doesn't say what is needed; why.
    Silent(String),
    /// It has answered.
    Known(NodeView),
}

/// The engine's answer, as far as a reboot is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeView {
    /// The reboot that it waits for.
    pub waiting: Option<WantedReboot>,
    /// Whether it is amid nothing: no download, no installation.
    pub is_resting: bool,
    /// Name of the running slot; none if it can't be told.
    pub slot: Option<String>,
    /// The running version.
    pub version: String,
    /// Whether the running slot is good.
    pub health: SlotHealth,
    /// Outcome of the last installed update.
    pub last_outcome: Option<InstalledOutcome>,
    /// The last rollback that it remembers.
    pub rollback: Option<FailedVersion>,
    /// Number of updates that it has installed so far; none from an engine that doesn't count them.
    pub installed: Option<u64>,
    /// Whether an update is staged: the next boot doesn't take it unless it is activated.
    pub is_staged: bool,
}

/// Whether the running slot is good.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SlotHealth {
    /// It is marked good, and nothing speaks against it.
    Good,
    /// Not yet, or it isn't known; why.
    NotYet(String),
}

/// Outcome of an update that was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstalledOutcome {
    /// It was withdrawn before it was booted.
    Withdrawn,
    /// The node left it again.
    RolledBack,
    /// It waits, is on trial, or was kept. One that is staged is none of these.
    Other,
}

/// Where a reboot has led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Into the slot that was meant.
    There,
    /// Into the other one.
    Back,
    /// Which slot runs can't be told.
    Unknown,
}

impl NodeView {
    /// Where a reboot for `wanted` has led.
    pub(super) fn arrival(&self, wanted: &WantedReboot) -> Arrival {
        match (&wanted.slot, &self.slot) {
            (Some(meant), Some(running)) if meant == running => Arrival::There,
            (Some(_), Some(_)) => Arrival::Back,
            (Some(_), None) => Arrival::Unknown,
            (None, _) if wanted.reason != Reason::Update => Arrival::There,
            (None, _) if self.is_staged || self.last_outcome == Some(InstalledOutcome::RolledBack) => {
                Arrival::Back
            }
            (None, _) => Arrival::There,
        }
    }

    /// The rollback since the lock was asked for, by `record`. A reboot that root asked for says nothing of slots: an
    /// update that is installed before the machine goes down is booted by it, and may be gone again when this is read.
    /// Another version than the one known before has failed since; so has the same one if it was installed once more.
    pub(super) fn rollback_since(&self, record: &HoldRecord) -> Option<FailedVersion> {
        let is_installed_since = record
            .known_installed
            .zip(self.installed)
            .is_some_and(|(before, now)| now > before);
        let is_again = is_installed_since && self.last_outcome == Some(InstalledOutcome::RolledBack);
        let is_later =
            |failed: &&FailedVersion| is_again || record.known_rollback.as_ref() != Some(&failed.version);
        self.rollback.as_ref().filter(is_later).cloned()
    }

    /// Whether the last update that was installed was found good, and no rollback is remembered since.
    pub(super) fn is_update_kept(&self) -> bool {
        self.health == SlotHealth::Good
            && self.waiting.is_none()
            && self.rollback.is_none()
            && self.last_outcome == Some(InstalledOutcome::Other)
    }

    /// The rollback that has brought the node back from `wanted`.
    pub(super) fn failure_of(&self, wanted: &WantedReboot) -> FailedVersion {
        let is_it = |failed: &&FailedVersion| wanted.version.is_empty() || failed.version == wanted.version;
        self.rollback
            .as_ref()
            .filter(is_it)
            .cloned()
            .unwrap_or_else(|| FailedVersion {
                version: wanted.version.clone(),
                cause: "the node came back in the slot that it had left".to_owned(),
            })
    }
}

/// Answer to a try to take the lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LockAnswer {
    /// This node is a holder.
    Granted,
    /// It is not: others hold it; who.
    Taken(String),
    /// It isn't known whether it is; why.
    Failed(String),
}

/// Answer to a try to give the lock back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UnlockAnswer {
    /// This node is certain not to be a holder any more.
    Released,
    /// Nobody knows whether it is; why.
    Failed(String),
}

/// Answer of the programs that are run before a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PrepareAnswer {
    /// All have run.
    Done,
    /// One of them refuses; why.
    Vetoed(String),
}

/// Answer to a look at the lock that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NoteAnswer {
    /// This node is a holder, and the lock says why if it can.
    Noted,
    /// It is none any more: an operator has released it.
    NotHeld,
    /// The lock's server doesn't tell holders.
    CannotTell,
    /// The server doesn't answer; why.
    Failed(String),
}

/// Answer to the order to reboot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RebootAnswer {
    /// The machine goes down.
    Ordered,
    /// It doesn't; why.
    Refused(String),
    /// It isn't known whether it does; why.
    Lost(String),
}

/// What the last look before the reboot has found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Confirmation {
    /// The engine, read just now.
    pub engine: EngineView,
    /// Whether the reboot window is open.
    pub is_open: bool,
    /// The inhibitor locks in the way, in words.
    pub inhibitors: Option<String>,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ManagerEvent {
    /// The engine was read.
    Engine(EngineView),
    /// Root asks for a reboot.
    Requested,
    /// The record could not be written; what was to follow was not done.
    NotSaved(String),
    /// Whether the window is open.
    Window(bool),
    /// Of [`ManagerJob::Lock`].
    Locked(LockAnswer),
    /// Of [`ManagerJob::Prepare`].
    Prepared(PrepareAnswer),
    /// Of [`ManagerJob::Notify`]: no user is logged in, or their time is over.
    UsersNotified,
    /// Of [`ManagerJob::Confirm`].
    Confirmed(Confirmation),
    /// Of [`ManagerJob::Reboot`].
    RebootAnswered(RebootAnswer),
    /// Of [`ManagerJob::Settle`].
    Settled,
    /// Of [`ManagerJob::Unlock`].
    Unlocked(UnlockAnswer),
    /// Of [`ManagerJob::Note`].
    Noted(NoteAnswer),
    /// Of [`ManagerJob::Pause`].
    PauseOver,
}

/// Something that takes time. At most one runs: the next takes the place of the one before, whose answer never comes.
/// What that one had sent may take effect all the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ManagerJob {
    /// Wait until the reboot window is open; answers nothing else.
    AwaitWindow,
    /// Look whether it is open.
    LookAtWindow,
    /// Become a holder of the lock; fine if this node is one already, but what was sent earlier must be overtaken.
    Lock {
        /// The reboot that it is for.
        wanted: WantedReboot,
        /// The version for whose failure it is held already: what others are told as the reason.
        failed: Option<FailedVersion>,
    },
    /// Run `pre-reboot.d`.
    Prepare,
    /// Tell logged-in users, and give them time.
    Notify,
    /// Read engine, window and inhibitors.
    Confirm,
    /// Ask logind for the reboot.
    Reboot,
    /// Run `post-good.d`.
    Settle,
    /// Stop being a holder of the lock; fine if this node is none.
    Unlock {
        /// Whether something sent earlier may still make it one: it must be overtaken.
        fence: bool,
    },
    /// Write beside the holder what failed, and look whether this node still is one.
    Note(FailedVersion),
    /// Do nothing for a while.
    Pause(Pause),
}

/// How long to do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pause {
    /// After so many failed tries in a row, from 1.
    Backoff(u8),
    /// After a veto.
    Veto,
    /// Until something that stands in the way is looked at again.
    Retry,
    /// For as long as an orderly shutdown may take.
    Shutdown,
    /// Until the lock that is kept is looked at again.
    Look,
}

/// Something for the journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The lock was taken, for this reboot.
    Taken(WantedReboot),
    /// The lock was given back.
    Released,
    /// logind was asked to reboot into this version.
    Rebooting(WantedReboot),
    /// The lock is kept after a rollback.
    Held(FailedVersion),
    /// The lock is given back after a rollback, as configured.
    NotHeld(FailedVersion),
    /// A wanted reboot is called off.
    CalledOff,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ManagerEffect {
    /// Write the record durably. If that fails, nothing that follows is done.
    Save(HoldRecord),
    /// Remove the record durably.
    Forget,
    /// End the job under way.
    Stop,
    /// Begin a job, in place of the one under way.
    Start(ManagerJob),
    /// Write to the journal.
    Say(Notice),
}
