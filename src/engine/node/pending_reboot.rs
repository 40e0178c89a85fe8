//! A pending reboot: the marker and the request for a reboot, which say for as long as this boot
//! lasts that the other slot boots next. They count while the partition table agrees.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use super::attempt_history::AttemptHistory;
use super::machine::{Machine, clear_extensions};
use super::payload_prefs::PayloadPrefs;
use super::slot_control::SlotControl;
use super::staged_slot::StagedSlot;
use super::update_history::UpdateHistory;
use crate::engine::{AttemptContext, BootsNext, State};
use crate::host::Host;
use crate::journal::chain;
use crate::policy::StagedFate;
use crate::reboot::{RebootRequest, Withdrawn};
use crate::status::Tally;

/// On a tmpfs: a reboot clears it. Other programs look for it too.
const MARKER: &str = "/var/run/update_engine_autoupdate_completed";

/// Whether a reboot into the other slot is waited for, with what the records say of it.
pub(super) struct PendingReboot {
    pub(super) machine: Arc<Machine>,
    pub(super) history: Arc<UpdateHistory>,
    pub(super) attempts: Arc<AttemptHistory>,
    pub(super) slots: Arc<SlotControl>,
    pub(super) staged: Arc<StagedSlot>,
    pub(super) payload_prefs: Arc<PayloadPrefs>,
}

impl PendingReboot {
    /// Where the engine starts on this machine: idle, or waiting for a reboot that an earlier
    /// process prepared. Notices a rollback.
    pub(super) fn initial_state(&self) -> State {
        let was_cut = self.attempts.is_under_way();
        withdraw_request_of_postinst(self.machine.host());
        self.history.note_start();
        clear_extensions(&self.machine);
        let staged = self.staged.look();
        self.attempts.note_start();
        let is_activated = match staged {
            // What it is can't be told now: reading it back says so, and is tried again.
            Err(error) => {
                tracing::warn!("what is staged is not known: {}", chain(&error));
                return State::staged(String::new());
            }
            // No marker of an earlier boot is left; the slot doesn't boot.
            Ok(Some((staged, StagedFate::Staged))) => {
                // What the attempt may have had no time for: without it the server is not told from
                // which version the update came.
                self.payload_prefs.installed();
                return State::staged(staged.version);
            }
            Ok(Some((_, StagedFate::Activated))) => true,
            // The server is told with the first check.
            Ok(Some((_, StagedFate::Runs))) => {
                self.end_staging();
                false
            }
            Ok(Some((_, StagedFate::Tried))) => {
                self.end_staging();
                self.staged.forget();
                false
            }
            Ok(Some((_, StagedFate::Void)) | None) => false,
        };
        if !self.is_waiting(was_cut, is_activated) {
            return State::idle();
        }
        let history = self.history.read();
        let running = self.history.running();
        if running.is_some_and(|running| history.is_leaving(&running)) {
            State::rollback_pending(self.history.version_of_other())
        } else {
            State::reboot_pending()
        }
    }

    /// Whether the other slot is waited for: the marker says so, and the partition table doesn't
    /// say otherwise. An attempt that was cut between commit and marker waits as well, and a staged
    /// update that `is_activated`.
    fn is_waiting(&self, was_cut: bool, is_activated: bool) -> bool {
        let host = self.machine.host();
        let (is_marked, boots_next) = (is_marked(host), self.slots.boots_next());
        match (is_marked, boots_next) {
            (true, BootsNext::Running) => {
                tracing::warn!(
                    "the partition table says that the running slot boots next: nothing waits for the reboot"
                );
                self.forget();
                false
            }
            (false, BootsNext::Other) if was_cut && self.attempts.is_last_waiting() => {
                tracing::warn!(
                    "an update was committed right before the daemon ended: it waits for the reboot"
                );
                // What the attempt had no time for: without it nobody is told of the success after
                // the reboot.
                self.payload_prefs.installed();
                // Whose request it is that is there already, nobody knows any more.
                self.announce(RebootRequest::of(host).is_made());
                true
            }
            (is_marked, BootsNext::Other) if is_activated => {
                if !is_marked {
                    tracing::warn!(
                        "a staged update was activated right before the daemon ended: it waits for the reboot"
                    );
                    self.announce(RebootRequest::of(host).is_made());
                }
                self.end_staging();
                true
            }
            (is_marked, _) => is_marked,
        }
    }

    /// What was staged waits for the reboot, and is counted as installed.
    fn end_staging(&self) {
        if self.staged.note_activated() {
            self.history.count(Tally::activated);
        }
    }

    /// The other slot boots next: by `attempt`, or by a rollback.
    pub(super) fn remember(&self, attempt: Option<&AttemptContext>) {
        let host = self.machine.host();
        // Neither a rollback nor an activation runs a postinst: who wants the reboot by now has
        // wanted it before.
        let is_staged = self.staged.is_kept();
        let attempt = attempt.filter(|_| !is_staged);
        self.announce(attempt.map_or_else(
            || RebootRequest::of(host).is_made(),
            |attempt| attempt.reboot_wanted,
        ));
        match attempt {
            Some(attempt) => self.attempts.succeeded(attempt),
            None => self.attempts.settle(),
        }
        if is_staged {
            self.end_staging();
            self.attempts.settle();
        }
    }

    /// Marker and request for a reboot; the latter is not ours if it `was_wanted` by somebody else
    /// before.
    fn announce(&self, was_wanted: bool) {
        let (host, request) = (self.machine.host(), RebootRequest::of(self.machine.host()));
        let announced = mark(host)
            // Images' postinsts leave it too; where none is run, reboot managers wait for it all
            // the same.
            .and_then(|()| request.make())
            .and_then(|()| if was_wanted { Ok(()) } else { request.claim() });
        if let Err(error) = announced {
            tracing::warn!("cannot remember that a reboot is due: {}", chain(&error));
        }
    }

    /// Whether an update waits for the reboot, says the marker, or is staged.
    pub(super) fn is_pending(&self) -> bool {
        is_marked(self.machine.host()) || self.staged.is_kept()
    }

    /// Nothing waits any more: marker and request go, and the records say what becomes of the
    /// slots.
    pub(super) fn forget(&self) {
        self.staged.forget();
        if let Err(error) = forget(self.machine.host()) {
            tracing::warn!("cannot forget that a reboot was due: {}", chain(&error));
        }
        self.slots.remember_no_longer_waiting();
    }
}

/// A postinst was killed with the daemon while its update was to be staged: nothing waits for the
/// reboot that it may have asked for.
fn withdraw_request_of_postinst(host: &Host) {
    let request = RebootRequest::of(host);
    if !request.is_absence_noted() {
        return;
    }
    if let Err(error) = request.withdraw_unwanted() {
        tracing::warn!("a postinst's request for a reboot stays: {}", chain(&error));
    }
}

/// A marker that can't be looked at counts as there: the table overrules it.
fn is_marked(host: &Host) -> bool {
    host.is_there(MARKER).unwrap_or_else(|error| {
        tracing::warn!(
            "whether an update waits for the reboot is left to the partition table: {}",
            chain(&error)
        );
        true
    })
}

/// Leaves the marker.
///
/// # Errors
/// When it can't be made: a restart of the daemon would then look for updates again.
fn mark(host: &Host) -> io::Result<()> {
    let path = host.path(MARKER);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map(drop)
}

/// Takes the marker away, and then the request for a reboot if it is ours; none is fine too.
///
/// # Errors
/// When one is there and can't be removed.
pub(super) fn forget(host: &Host) -> io::Result<()> {
    match fs::remove_file(host.path(MARKER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if RebootRequest::of(host).withdraw()? == Withdrawn::Gone {
        tracing::info!("the request for a reboot is withdrawn");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_marker_comes_and_goes() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        assert!(!is_marked(&host));
        forget(&host).unwrap();
        mark(&host).unwrap();
        let metadata = fs::metadata(host.path(MARKER)).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.len()), (0o600, 0));
        assert!(is_marked(&host));
        forget(&host).unwrap();
        assert!(!is_marked(&host));
    }
}
