//! The disk as the node sees it: found anew for each use.

use std::path::PathBuf;

use super::Settings;
use crate::disk::{DiskError, Marked, SlotDisk, SlotName};
use crate::engine::BootsNext;
use crate::journal::MessageId;

/// Which disk holds the slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskChoice {
    /// The one from which `/usr` is mounted.
    OfUsr,
    /// Named on the command line.
    Named {
        /// A device or an image.
        path: PathBuf,
        /// The slot that runs.
        running: SlotName,
    },
}

/// Looks at the disk. Blocks.
pub(super) fn open(settings: &Settings) -> Result<SlotDisk, DiskError> {
    match &settings.disk {
        DiskChoice::OfUsr => SlotDisk::discover(&settings.host),
        DiskChoice::Named { path, running } => SlotDisk::open(path, *running),
    }
}

/// Which slot the loader takes at the next boot. Blocks.
pub(super) fn boots_next(disk: &SlotDisk) -> Result<BootsNext, DiskError> {
    Ok(match disk.boots_next()? {
        None => BootsNext::Unknown,
        Some(slot) if slot == disk.running() => BootsNext::Running,
        Some(_) => BootsNext::Other,
    })
}

/// The PARTUUID of a slot. Blocks.
pub(super) fn partuuid(disk: &SlotDisk, slot: SlotName) -> Result<String, DiskError> {
    let rows = disk.table()?;
    let row = rows.into_iter().find(|row| row.slot == slot);
    // The table has a row for each slot.
    Ok(row.map(|row| row.partuuid).unwrap_or_default())
}

/// Makes the running slot good. Blocks.
pub(super) fn mark_good(disk: &SlotDisk) -> Result<(), DiskError> {
    let running = disk.running();
    match disk.mark_good()? {
        Marked::Written => tracing::info!(
            MESSAGE_ID = MessageId::MarkedGood.id(),
            UPDATE_SLOT = %running,
            "{running} is marked good"
        ),
        Marked::Already => tracing::debug!("{running} was good already"),
    }
    Ok(())
}
