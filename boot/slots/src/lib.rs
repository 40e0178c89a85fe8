//! GPT tables and the attributes of A/B slots, without std.
#![no_std]

extern crate alloc;

mod attributes;

pub use attributes::{Priority, SlotAttributes, Tries};
