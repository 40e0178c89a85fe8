//! Integration tests: one module per story, told at the boundary that users see.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod bus;
mod client;
mod compatibility;
mod docs;
mod health_histories;
mod host;
mod install;
mod monitoring;
mod network;
mod omaha;
mod payloads;
mod postinst;
mod reboot;
mod records;
mod slots;
mod support;
mod trial;
