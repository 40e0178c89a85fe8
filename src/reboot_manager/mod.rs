//! The reboot manager: reboots a node into its waiting update when its turn comes, and keeps the reboot lock until the
//! engine calls the new slot good.
//!
//! ```text
//!  engine, by D-Bus ──────────────────┐                                ┌──▶ HoldRecord on the disk
//!  root's signal ─────────────────────┼─▶ Event ─▶ step(state, event) ─┤
//!  answers of jobs ───────────────────┘      pure                      └──▶ Job: lock, window, programs, users, logind
//! ```
//!
//! Used by the program `update_reboot_manager` alone. Who holds the lock is the business of
//! [`reboot_lock`](crate::reboot_lock).
//!
//! What must hold: see [`step()`].

mod coordinator;
mod engine;
mod event;
mod jobs;
mod logind;
mod manager;
mod metrics;
#[cfg(test)]
mod model;
mod programs;
mod record_file;
mod request_file;
mod settings;
mod state;
mod step;
mod window;

pub use coordinator::{CoordinatorError, CoordinatorFile, CoordinatorState};
pub use engine::watch;
pub use event::{
    Confirmation, EngineView, InstalledOutcome, LockAnswer, ManagerEffect, ManagerEvent, ManagerJob,
    NodeView, NoteAnswer, Notice, Pause, PrepareAnswer, RebootAnswer, SlotHealth, UnlockAnswer,
};
pub use manager::{Manager, ManagerError};
pub use metrics::metrics_reference;
pub use settings::{ManagerFault, ManagerPace, ManagerSettings, warn_of_a_lock_left_behind};
pub use state::{
    AfterRollback, FailedVersion, HoldRecord, ManagerPhase, ManagerState, Reason, RebootObstacle,
    WantedReboot,
};
pub use step::step;
pub use window::{WindowFault, Windows};
