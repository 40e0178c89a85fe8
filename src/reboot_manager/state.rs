//! The manager's state, and the record of it that survives a reboot.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The source of the wish for a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A rollback by an operator waits: the other slot was good once, and has no trial.
    Rollback,
    /// Root has sent `send-need-reboot`'s signal.
    Request,
    /// An installed update waits; or a wish that a later version of the manager knows, of which no less is asked.
    #[serde(other)]
    Update,
}

/// A reboot that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WantedReboot {
    /// Where the wish comes from.
    pub reason: Reason,
    /// Version of the slot that boots next; empty if that is unknown.
    pub version: String,
    /// Name of the slot that boots next, `USR-A` or `USR-B`; none if it is unknown, or the running one.
    pub slot: Option<String>,
}

/// A version that the node rolled back from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FailedVersion {
    /// Its version; empty if that is unknown.
    pub version: String,
    /// Cause of the rollback, in words.
    pub cause: String,
}

/// The durable record: this node may hold the lock. Written before the lock is asked for, removed after it was given back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HoldRecord {
    /// Kernel's id of the boot that wrote it; empty for a trial that was found at the manager's first start.
    pub boot: String,
    /// The reboot that the lock is for; none while only [`Self::failed`] holds it.
    pub wanted: Option<WantedReboot>,
    /// Whether `pre-reboot.d` has been run, so that `post-good.d` is due.
    #[serde(default)]
    pub prepared: bool,
    /// The version for whose failure the lock is held.
    #[serde(default)]
    pub failed: Option<FailedVersion>,
    /// Version of the last rollback that the engine remembered when the lock was asked for; none without one.
    #[serde(default)]
    pub known_rollback: Option<String>,
    /// Number of updates that the engine had installed when the lock was asked for; none if it doesn't count them.
    #[serde(default)]
    pub known_installed: Option<u64>,
    /// Whether logind was asked for the reboot, and hasn't refused it: the machine may be going down.
    #[serde(default)]
    pub ordered: bool,
}

/// Treatment of the lock after a rollback: `AFTER_ROLLBACK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AfterRollback {
    /// It is held until an operator releases it, or a later update of this node is good.
    Hold,
    /// It is given back.
    Release,
}

/// The step that is under way. Each but [`ManagerPhase::Starting`], [`ManagerPhase::Idle`] and [`ManagerPhase::Trial`] waits for the answer of
/// one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManagerPhase {
    /// The engine has not been read since the manager's start.
    Starting,
    /// Nothing waits, nothing is held.
    Idle,
    /// A reboot is wanted: waits for the reboot window.
    Waiting,
    /// Asks for the lock, or pauses between two tries.
    Locking,
    /// Programs of `pre-reboot.d` run.
    Preparing,
    /// Logged-in users were told, and have time.
    Notifying,
    /// Engine, window and inhibitors are read for the last time.
    Confirming,
    /// logind was asked to reboot.
    Rebooting,
    /// After the reboot: the engine has not found the slot good yet.
    Trial,
    /// Programs of `post-good.d` run.
    Settling,
    /// Gives the lock back, or pauses between two tries.
    Unlocking,
    /// The lock is kept after a rollback.
    Held,
}

/// The cause for which nothing happens now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RebootObstacle {
    /// The engine doesn't answer, or doesn't say what is needed.
    EngineSilent(String),
    /// Others hold the lock.
    LockTaken(String),
    /// The lock's server can't be reached, or answers nonsense.
    LockFailed(String),
    /// The record can't be written.
    NotSaved(String),
    /// The record of an earlier process can't be read: it may have ordered a reboot.
    RecordLost,
    /// A program of `pre-reboot.d` refused.
    Vetoed(String),
    /// An inhibitor lock of logind stands in the way.
    Inhibited(String),
    /// logind refused.
    RebootFailed(String),
    /// The slot is not good yet.
    OnTrial(String),
    /// The engine is amid something.
    EngineBusy,
    /// The reboot window is closed.
    WindowClosed,
}

/// Everything the decisions are made from. Only [`step`](super::step) changes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each may go with any of the others")]
pub struct ManagerState {
    pub(super) boot: String,
    pub(super) after_rollback: AfterRollback,
    pub(super) phase: ManagerPhase,
    /// The reboot that the engine wants, as far as is known.
    pub(super) waiting: Option<WantedReboot>,
    /// Whether root's signal was received in this boot.
    pub(super) requested: bool,
    /// Version of the last rollback that the engine remembers.
    pub(super) known_rollback: Option<String>,
    /// Number of updates that the engine has installed.
    pub(super) known_installed: Option<u64>,
    /// Whether the engine has found the last update good.
    pub(super) is_update_kept: bool,
    /// Why the engine doesn't answer, if it doesn't.
    pub(super) silence: Option<String>,
    pub(super) record: Option<HoldRecord>,
    /// Whether an earlier process has left a record that can't be read.
    pub(super) is_record_lost: bool,
    /// Whether the record stands on the disk as it is here.
    pub(super) is_saved: bool,
    /// Failed tries in a row, at most [`Self::MOST_TRIES`].
    pub(super) tries: u8,
    /// Whether the next wait for the window begins with a pause.
    pub(super) was_vetoed: bool,
    pub(super) obstacle: Option<RebootObstacle>,
}

impl ManagerState {
    /// Tries beyond this are not counted: the pause between two grows no more.
    pub(super) const MOST_TRIES: u8 = 6;

    /// At the manager's start, in the boot of this id, with what an earlier process has left.
    #[must_use]
    pub fn new(boot: String, after_rollback: AfterRollback, record: Option<HoldRecord>) -> Self {
        Self {
            boot,
            after_rollback,
            phase: ManagerPhase::Starting,
            waiting: None,
            requested: false,
            known_rollback: None,
            known_installed: None,
            is_update_kept: false,
            silence: None,
            record,
            is_record_lost: false,
            is_saved: true,
            tries: 0,
            was_vetoed: false,
            obstacle: None,
        }
    }

    /// The same where what an earlier process has left can't be read.
    #[must_use]
    pub fn with_lost_record(self) -> Self {
        Self {
            is_record_lost: true,
            ..self
        }
    }

    /// The step that is under way.
    #[must_use]
    pub const fn phase(&self) -> ManagerPhase {
        self.phase
    }

    /// The record as it should stand on the disk.
    #[must_use]
    pub const fn record(&self) -> Option<&HoldRecord> {
        self.record.as_ref()
    }

    /// The cause for which nothing happens now, if there is one.
    #[must_use]
    pub const fn obstacle(&self) -> Option<&RebootObstacle> {
        self.obstacle.as_ref()
    }

    /// Why the engine doesn't answer, if it doesn't.
    #[must_use]
    pub fn silence(&self) -> Option<&str> {
        self.silence.as_deref()
    }

    /// The reboot that is wanted now.
    #[must_use]
    pub fn wanted(&self) -> Option<WantedReboot> {
        self.waiting.clone().or_else(|| {
            self.requested.then(|| WantedReboot {
                reason: Reason::Request,
                version: String::new(),
                slot: None,
            })
        })
    }

    /// Whether the record was written before the last reboot.
    pub(super) fn has_rebooted(&self) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| record.boot != self.boot)
    }
}

impl ManagerPhase {
    /// Whether a reboot is being prepared that may still be called off.
    pub(super) const fn is_preparation(self) -> bool {
        matches!(
            self,
            Self::Waiting | Self::Locking | Self::Preparing | Self::Notifying | Self::Confirming
        )
    }

    /// The word for it in status and metrics; never renamed.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Waiting => "waiting-for-window",
            Self::Locking => "waiting-for-lock",
            Self::Preparing => "preparing",
            Self::Notifying => "notifying-users",
            Self::Confirming => "confirming",
            Self::Rebooting => "rebooting",
            Self::Trial => "on-trial",
            Self::Settling => "settling",
            Self::Unlocking => "releasing",
            Self::Held => "held-after-rollback",
        }
    }

    /// Every state, in the order of the table in docs/reboots.md.
    pub const ALL: [Self; 12] = [
        Self::Starting,
        Self::Idle,
        Self::Waiting,
        Self::Locking,
        Self::Preparing,
        Self::Notifying,
        Self::Confirming,
        Self::Rebooting,
        Self::Trial,
        Self::Settling,
        Self::Unlocking,
        Self::Held,
    ];
}

impl RebootObstacle {
    /// The word for who or what stands in the way, in status and metrics; never renamed.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::EngineSilent(_) => "engine-silent",
            Self::LockTaken(_) => "lock-taken",
            Self::LockFailed(_) => "lock-failed",
            Self::NotSaved(_) => "record",
            Self::RecordLost => "record-lost",
            Self::Vetoed(_) => "program",
            Self::Inhibited(_) => "inhibitor",
            Self::RebootFailed(_) => "logind",
            Self::OnTrial(_) => "trial",
            Self::EngineBusy => "engine-busy",
            Self::WindowClosed => "window",
        }
    }
}

impl fmt::Display for RebootObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EngineSilent(why) => write!(f, "the update engine does not answer: {why}"),
            Self::LockTaken(why) => write!(f, "the reboot lock is taken: {why}"),
            Self::LockFailed(why) => write!(f, "the reboot lock can't be used: {why}"),
            Self::NotSaved(why) => write!(f, "nothing can be recorded, so the lock is not asked for: {why}"),
            Self::RecordLost => f.write_str(
                "the record of the reboot lock is lost: a reboot that was ordered before is waited for",
            ),
            Self::Vetoed(why) => write!(f, "{why}"),
            Self::Inhibited(why) => write!(f, "an inhibitor lock stands in the way: {why}"),
            Self::RebootFailed(why) => write!(f, "logind does not reboot: {why}"),
            Self::OnTrial(why) => write!(f, "the running slot is not good yet: {why}"),
            Self::EngineBusy => f.write_str("the update engine is amid something"),
            Self::WindowClosed => f.write_str("the reboot window is closed"),
        }
    }
}
