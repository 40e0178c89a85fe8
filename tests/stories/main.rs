//! Integration tests: one module per story, told at the boundary that users see.

mod bus;
mod client;
#[path = "../support/mod.rs"]
mod support;
