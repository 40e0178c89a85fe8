//! The table on a disk: cut, torn, corrupted, enlarged; seen by readers that aren't ours.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod crash;
mod damage;
mod growth;
mod image;
mod readers;
mod recorder;
mod states;
