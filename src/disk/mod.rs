//! The hardware boundary: block targets, the GPT of the disk that holds the running slot, boot attributes.

mod error;
mod sealed;
mod slot;
mod slot_disk;
mod target;

pub use error::DiskError;
pub use sealed::Sealed;
pub use slot::SlotName;
pub use slot_disk::{Marked, SlotDisk, SlotRow};
pub use slots::SlotAttributes;
pub use target::BlockTarget;
