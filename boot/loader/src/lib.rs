//! Starts the kernel of an A/B slot, for systems whose boot loader knows no GPT attributes.
//!
//! ```text
//!  firmware ─▶ read both GPT copies ─▶ repair ─▶ choose ─▶ spend the try ─▶ load the kernel ─▶ start it
//!                     ▲                             │      (backup, sync,         │               │
//!                     │                             │       primary, sync)        │               │
//!                     │            no slot is left: back to the firmware          │               │
//!                     └──────────────── the slot is passed over: say why ◀────────┴───────────────┘
//! ```
//! The try is on the medium before anything of the slot is read: whatever hangs, panics or resets
//! from then on has cost the slot that try, and the next boot takes the other slot. A kernel that
//! can't be loaded costs it too: to the system that boots instead, the slot was tried and didn't
//! come up.
//!
//! | topic | where |
//! |---|---|
//! | the order of things above | [`boot`] |
//! | what it needs from the firmware | [`Machine`] |
//! | which kernel file belongs to which partition | [`Letter`] |
//! | the kernel's command line | [`CommandLine`] |
//! | the watchdog that a kernel on trial takes over | [`Handover`], [`ArmedTco`] |
//! | the firmware itself (feature `efi`) | `efi` |
//!
//! Tables, attributes, the choice and the ordered write are those of the daemon: crate [`slots`].
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod command_line;
#[cfg(all(feature = "efi", not(test)))]
mod efi;
mod error;
mod letter;
mod machine;
mod sequence;
mod watchdog;

pub use command_line::{CommandLine, CommandLineError, RootHash};
pub use error::{GaveUp, PassedOver};
pub use letter::Letter;
pub use machine::Machine;
pub use sequence::boot;
pub use watchdog::{
    ArmedTco, Chipset, Handover, HandoverError, LpcRegister, NotArmed, OpenTimeout, Sha256Digest, TcoError,
    TcoPlace, TcoRegister, TcoTimeout,
};
