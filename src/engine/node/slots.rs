//! The disk as the node sees it: found anew for each use, marked good through the gate.

use std::path::PathBuf;

use super::Settings;
use crate::disk::{DiskError, Marked, SlotDisk, SlotName};
use crate::engine::chain;

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

/// Makes the running slot good, or says why it stays on trial. Blocks.
pub(super) fn mark_good(settings: &Settings, gate: Option<&str>) -> Result<(), String> {
    let text = |error: DiskError| chain(&error);
    let disk = open(settings).map_err(text)?;
    let running = disk.running();
    if let Some(file) = gate.filter(|file| !settings.host.path(file).exists()) {
        // A slot that was good before this boot needs no gate: it is the fallback, not on trial.
        return match disk.attributes(running).map_err(text)? {
            attributes if attributes.is_successful() => Ok(()),
            _ => Err(format!("the health gate {file} is pending")),
        };
    }
    match disk.mark_good().map_err(text)? {
        Marked::Written => tracing::info!("{running} is marked good"),
        Marked::Already => tracing::debug!("{running} was good already"),
    }
    Ok(())
}
