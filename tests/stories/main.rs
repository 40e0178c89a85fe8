//! Integration tests: one module per story, told at the boundary that users see.

#[path = "../support/mod.rs"]
mod support;
