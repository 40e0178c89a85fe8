//! The watchdog of a keeper that was killed: it runs on and resets the node, whatever the slot is by
//! then.
//!
//! The program that arms notes in `/run` what stands behind the keeper, which takes the note away when
//! it ends. A note without a keeper tells which watchdog was left running.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::armed_deadline::ArmedDeadline;
use super::watchdog::{ArmedWatchdog, StillRuns, WATCHDOG_DELAY, WatchdogFacts};
use crate::host::Host;

/// On a tmpfs, so that it is of this boot.
const NOTE: &str = "/run/update_engine/trial-deadline";

/// Why the watchdog of a killed keeper runs on.
#[derive(Debug, thiserror::Error)]
pub enum LeftRunningError {
    /// It can't be opened, above all because somebody else has it.
    #[error("{} can't be opened", .0.display())]
    NotOpened(PathBuf, #[source] io::Error),
    /// Its driver doesn't stop it.
    #[error("{} can't be stopped", .0.display())]
    NotStopped(PathBuf),
    /// Nor can it be opened any more.
    #[error("{} runs on and can't be fed", .0.display())]
    Lost(PathBuf, #[source] io::Error),
}

impl From<StillRuns> for LeftRunningError {
    fn from(running: StillRuns) -> Self {
        match running {
            StillRuns::Held(watchdog) => Self::NotStopped(watchdog.node),
            StillRuns::Lost(node, error) => Self::Lost(node, error),
        }
    }
}

/// What stands behind a keeper.
#[derive(Debug, Serialize, Deserialize)]
struct WatchdogNote {
    pid: u32,
    watchdog: PathBuf,
    /// Seconds from the boot until it resets, if nobody feeds it.
    resets_at: u64,
}

/// Notes what stands behind the keeper whose state this is. In an initrd there is no place for it: the
/// system's program does it then.
pub(super) fn note(host: &Host, state: &ArmedDeadline) {
    if host.is_real() && !host.seems_run_by_systemd() {
        return;
    }
    let Some(watchdog) = &state.watchdog else {
        return;
    };
    let up = host.up().unwrap_or_default().as_secs();
    let note = WatchdogNote {
        pid: state.pid,
        watchdog: watchdog.into(),
        resets_at: up
            .saturating_add(state.left.unwrap_or_default())
            .saturating_add(WATCHDOG_DELAY.as_secs()),
    };
    let written = write(&host.path(NOTE), &note);
    if let Err(error) = written {
        tracing::warn!("if the keeper of the trial deadline is killed nobody tells so: {error}");
    }
}

fn write(path: &Path, note: &WatchdogNote) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // Renamed, so that it is whole or not there.
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(note)?)?;
    fs::rename(new, path)
}

/// Takes the note away.
pub(super) fn forget(host: &Host) {
    let _ = fs::remove_file(host.path(NOTE));
}

/// The watchdog that a killed keeper has left running, if one runs. There must be no keeper.
pub(super) fn look(host: &Host) -> Option<ArmedDeadline> {
    // A note that makes no sense is none.
    let note: WatchdogNote = serde_json::from_slice(&fs::read(host.path(NOTE)).ok()?).ok()?;
    if !WatchdogFacts::runs(host, &note.watchdog) {
        return None;
    }
    let left = Duration::from_secs(note.resets_at).saturating_sub(host.up().unwrap_or_default());
    Some(ArmedDeadline {
        pid: note.pid,
        left: Some(left.as_secs()),
        watchdog: Some(note.watchdog.display().to_string()),
        no_watchdog: String::new(),
        keeper_was_killed: true,
    })
}

/// Stops what [`look`] has found.
///
/// # Errors
/// [`LeftRunningError`]: it has to be fed by somebody.
pub(super) fn stop(host: &Host, state: &ArmedDeadline) -> Result<(), LeftRunningError> {
    let node = PathBuf::from(state.watchdog.as_deref().unwrap_or_default());
    let watchdog = match ArmedWatchdog::open(host, &node) {
        Ok(watchdog) => watchdog,
        Err(error) => return Err(LeftRunningError::NotOpened(node, error)),
    };
    watchdog.stop(host)?;
    forget(host);
    Ok(())
}
