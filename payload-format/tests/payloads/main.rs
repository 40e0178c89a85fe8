//! Payloads read, verified and applied through the public interface: those of the original's generator, and
//! handmade ones for what it doesn't make.
#![allow(clippy::unwrap_used)]

mod applying;
mod content;
mod edges;
mod fixture;
mod handmade;
mod in_place;
mod memory;
mod message;
mod noise;
mod reading;
mod resuming;
mod signatures;
mod version2;
