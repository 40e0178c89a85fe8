//! The hardware boundary: block targets, the GPT of the disk that holds the running slot, boot attributes.

mod slot;
mod target;

pub use slot::SlotName;
pub use target::BlockTarget;
