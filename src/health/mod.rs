//! The health of a slot on trial: its requirements, settling time and deadline.
//!
//! ```text
//!  HEALTH_UNITS ─ units ──┐
//!                         ├─ requirements ─▶ look ─▶ Finding ─▶ decision ────▶ Passed      mark the slot good
//!  health.d/ ──── checks ─┘        │          ▲                     │    └───▶ Expired     back to the other slot
//!                                  │          └───── a moment ◀── Wait
//!                                  └─ can't be told: held, without a deadline, until it can
//! ```
//!
//! A slot on trial passes once everything that is required has held for the settling time, look for
//! look; a unit that stopped and came back between two looks has not held. Nothing required holds
//! by itself: then the settling time is all there is, as it was with the original engine.
//!
//! Settings and checks are read anew for every look, so that an operator can repair either while
//! the node is on trial.

pub mod baseline;
mod cause;
pub mod checks;
mod decision;
mod extensions;
mod inventory_reader;
mod look;
mod requirements;
mod units;
mod watch;

pub use cause::Cause;
pub use decision::{Finding, HealthDecision, HealthVerdict, Incarnation, NotHealthyYet};
pub use inventory_reader::{InventoryError, WantedUnits, take_inventory};
pub use look::look;
pub use requirements::{Requirement, Unknown, requirements};
pub use units::Units;
pub use watch::{TrialEnd, watch};
