//! Reboots: the request that reboot managers take up while an update waits, and the reboot out of a
//! slot that failed.
//!
//! ```text
//!  an update is committed ── RebootRequest: request, claim ─▶ /run/reboot-required ─▶ a reboot manager, in its own time
//!  it is withdrawn ───────── RebootRequest: withdraw ───────▶ gone, if the request is still ours
//!  a trial hangs ─────────── reset_now ─▶ the kernel, with nobody's help
//!  a trial failed ────────── reboot_now ─▶ each RebootStrategy in turn, until one takes the order
//! ```
//!
//! Nothing here touches slots, and nothing reboots a node that runs a good slot: that is for reboot
//! managers to decide.

mod request;
mod strategies;

use futures_util::future::BoxFuture;

pub use request::{RebootRequest, Withdrawn};

use crate::host::Host;

/// A way to reboot the machine at once.
pub trait RebootStrategy: Send + Sync {
    /// Orders the reboot; returns once it has begun, or says why it doesn't in one line.
    fn reboot(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// Resets the machine that `host` is, at once and without systemd: units are not ended, and file
/// systems are left as they are. Where `host` only stands for a machine, the reset is recorded.
///
/// # Errors
/// When the kernel refuses; else this returns only if nothing was to be reset.
pub fn reset_now(host: &Host) -> Result<(), String> {
    strategies::reset(host).map_err(|error| error.to_string())
}

/// Reboots the machine that `host` is: the first of its strategies that takes the order.
///
/// # Errors
/// When none does: why each did not, in the order of trial.
pub async fn reboot_now(host: &Host) -> Result<(), String> {
    let mut reasons = Vec::new();
    for strategy in strategies::of(host) {
        match strategy.reboot().await {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}
