//! Payloads of the original's generator, read, verified and applied by this crate alone.
#![allow(clippy::unwrap_used)]

mod applying;
mod fixture;
mod memory;
mod reading;
mod resuming;
mod signatures;
