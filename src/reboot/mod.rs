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

use std::io;
use std::process::ExitStatus;

use futures_util::future::BoxFuture;

pub use request::{RebootRequest, Withdrawn};

use crate::host::Host;
use crate::host::subprocess::SubprocessError;
use crate::journal::chain;
use crate::systemd::SystemdError;

/// Why no reboot has begun.
#[derive(Debug, thiserror::Error)]
pub enum RebootError {
    /// systemd doesn't take the order.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The program `reboot` has no exit status.
    #[error(transparent)]
    Program(#[from] SubprocessError),
    /// It has one that is not 0.
    #[error("reboot ended with {0}")]
    Ended(ExitStatus),
    /// The kernel refuses, or the reboot of what only stands for a machine can't be recorded.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No strategy has led to a reboot: why each has not, in the order of trial.
    #[error("{}", .0.iter().map(|error| chain(error)).collect::<Vec<_>>().join("; "))]
    AllFailed(Vec<RebootError>),
}

/// A way to reboot the machine at once.
pub trait RebootStrategy: Send + Sync {
    /// Orders the reboot; returns once it has begun.
    ///
    /// # Errors
    /// [`RebootError`].
    fn reboot(&self) -> BoxFuture<'_, Result<(), RebootError>>;
}

/// Resets the machine that `host` is, at once and without systemd: units are not ended, and file
/// systems are left as they are. Where `host` only stands for a machine, the reset is recorded.
///
/// # Errors
/// When the kernel refuses; else this returns only if nothing was to be reset.
pub fn reset_now(host: &Host) -> Result<(), RebootError> {
    Ok(strategies::reset(host)?)
}

/// Reboots the machine that `host` is: the first of its strategies that takes the order.
///
/// # Errors
/// [`RebootError::AllFailed`] when none does.
pub async fn reboot_now(host: &Host) -> Result<(), RebootError> {
    let mut errors = Vec::new();
    for strategy in strategies::of(host) {
        match strategy.reboot().await {
            Ok(()) => return Ok(()),
            Err(error) => errors.push(error),
        }
    }
    Err(RebootError::AllFailed(errors))
}
