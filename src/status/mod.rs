//! The status vocabulary: what the engine says about itself, and what it can be told to do.
//!
//! Plain data that engine, bus, client and monitoring share, so that none of them needs to know
//! another. The engine publishes a [`Snapshot`], and each [`Status`] once, through a
//! [`SnapshotSender`]; it takes [`Command`]s. Types know how they are encoded (JSON, D-Bus
//! signature), but no connection, path or interface: those are the bus's.
//!
//! ```text
//!  engine ── Status, each once, in order ──▶ SnapshotReceiver ──▶ bus (signals)
//!     │ └─── Snapshot, the latest ─────────▶ SnapshotReceiver ──▶ bus (properties), monitoring
//!     ◀───── Command, with a channel for the answer ───────────── bus
//! ```

mod attempt;
mod command;
mod health;
mod overview;
mod snapshot;
mod tally;

pub use attempt::{AttemptReport, AttemptState, Transfer, Trigger};
pub use command::{
    CheckResult, Command, CommandRefusal, OfferSource, PreflightCheck, Preview, Prospect, WaitingSlot,
};
pub use health::{HealthFinding, HealthReport};
pub use overview::{
    EngineState, FailureReport, LastCheck, Maybe, NextCheck, NoUpdate, Obstacle, Overview, RollbackReport,
    SlotReport,
};
pub use snapshot::{Diagnostics, Operation, Snapshot, SnapshotReceiver, SnapshotSender, Status};
pub use tally::{CheckEnd, Checks, Tally};

/// Wall clock time: seconds since 1970-01-01 00:00 UTC.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// This much later; stays at the end of time.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}
