//! An update that waits for its reboot, and the managers that reboot.

mod lock;
mod managers;
mod marker;
pub(crate) mod replacing;
