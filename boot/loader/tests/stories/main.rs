//! The loader as its machine sees it: on fakes that fail where told, and on real firmware.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chipset;
mod fake;
mod firmware;
mod image;
mod machine;
mod sequence;
mod watchdog;
