//! Parts that stories, crash tests, demonstration and benchmark share, none of which needs the
//! engine's library.
//!
//! Helpers of stories alone are in `tests/stories/support`, where rustc sees whether they are used.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    reason = "a test that cannot go on has failed"
)]

pub mod bus;
pub mod certificates;
pub mod etcd;
pub mod fixtures;
pub mod flatcar_disk;
pub mod logging_server;
pub mod random;
pub mod server;

use std::path::Path;

/// The root of the project.
pub fn project() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is in tests/support")
}
