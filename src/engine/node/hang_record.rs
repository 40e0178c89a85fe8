//! Record of a hang, written without an engine: the process that ends a hang tells the history of
//! updates why the running slot is left, and withdraws it if the slot stays after all.

use std::sync::Arc;

use super::machine::{DiskChoice, Machine, STATE, Settings};
use super::update_history::{RememberError, UpdateHistory};
use crate::disk::{DiskError, SlotDisk};
use crate::host::Host;
use crate::install::PostinstMode;

/// Why the history of updates was not told of a hang.
#[derive(Debug, thiserror::Error)]
pub enum HangHistoryError {
    /// There is no history.
    #[error("{STATE} is not there")]
    NoState,
    /// The slots can't be found.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The history can't be read or written.
    #[error(transparent)]
    Remember(#[from] RememberError),
}

/// Records that the running slot of `host` is left for a hang, with the units that were still
/// starting.
///
/// # Errors
/// [`HangHistoryError`]: it is not recorded.
pub fn record_hang(host: &Host, starting: &[String]) -> Result<(), HangHistoryError> {
    change_history(host, |history, disk| history.remember_hang(disk, starting))
}

/// Withdraws what [`record_hang`] has recorded: the slot stays.
///
/// # Errors
/// [`HangHistoryError`]: it is not withdrawn.
pub fn withdraw_hang(host: &Host) -> Result<(), HangHistoryError> {
    change_history(host, UpdateHistory::forget_hang)
}

fn change_history(
    host: &Host,
    change: impl FnOnce(&UpdateHistory, &SlotDisk) -> Result<(), RememberError>,
) -> Result<(), HangHistoryError> {
    let machine = Arc::new(Machine::new(Settings {
        host: host.clone(),
        disk: DiskChoice::OfUsr,
        postinst: PostinstMode::Run,
    }));
    if !host.path(STATE).is_dir() {
        return Err(HangHistoryError::NoState);
    }
    let disk = machine.disk()?;
    Ok(change(&UpdateHistory::new(&machine), &disk)?)
}
