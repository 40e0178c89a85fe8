//! The gate that needs no configuration: what was well before an update, held against what is there
//! after it. Pure.
//!
//! ```text
//!  good slot, up for a while ─▶ Inventory ─▶ Baseline::of ─▶ record, bound to slot and image
//!                                                              │
//!  the new slot, about to be marked good ─▶ Inventory ──▶ compare ─┬─▶ certain  back to the old slot
//!                                                                  └─▶ perhaps  reported, kept
//! ```
//!
//! *Certain* is what comes out the same at every boot and is the image's doing: an extension that is
//! still offered and isn't merged, a unit of the operator's that can't be loaded or whose program
//! the image lacks. Everything else that is worse than before may be meant, or be the network's
//! doing, and is reported only. What failed before, what is not meant any more, and what an operator
//! changed since the record is required of nobody.

mod compare;
mod gate_record;
mod inventory;
mod record;
mod regression;

pub use compare::compare;
pub use gate_record::{GateOutcome, GateRecord};
pub use inventory::{
    ExtensionFacts, ExtensionOffer, FileStamp, Inventory, OfferState, ProgramState, SystemState, UnitFacts,
    UnitOrigin, UnitProperties,
};
pub use record::{Baseline, Binding, RecordedExtension, RecordedUnit};
pub use regression::{Regression, RegressionSubject, Regressions};
