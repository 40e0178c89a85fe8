//! The CrAU update payload format: reading, applying, verifying and writing.

mod wire;
pub mod writer;
