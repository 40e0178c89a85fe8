//! The files that say, for as long as this boot lasts, that the other slot boots next: the marker, and the
//! request for a reboot. They count while the partition table agrees.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use super::{Node, slots};
use crate::disk::{BlockTarget, BootRisk, DiskError, OwnDisk, Sealed, SlotDisk, SlotName};
use crate::engine::BootsNext;
use crate::host::Host;
use crate::install::Slots;
use crate::journal::chain;
use crate::reboot::{RebootRequest, Withdrawn};

/// On a tmpfs: a reboot clears it. Other programs look for it too.
const MARKER: &str = "/var/run/update_engine_autoupdate_completed";

/// Whether an update waits for the reboot. A marker that can't be looked at counts as there: the table overrules it.
pub(super) fn is_pending(host: &Host) -> bool {
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
pub(super) fn remember(host: &Host) -> io::Result<()> {
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

impl Node {
    /// Whether the other slot is waited for: the marker says so, and the partition table doesn't say otherwise. An attempt
    /// that was cut between commit and marker waits as well.
    pub(super) fn is_waiting(&self, was_cut: bool) -> bool {
        let (is_marked, boots_next) = (is_pending(self.host()), self.boots_next());
        match (is_marked, boots_next) {
            (true, BootsNext::Running) => {
                tracing::warn!(
                    "the partition table says that the running slot boots next: nothing waits for the reboot"
                );
                if let Err(error) = forget(self.host()) {
                    tracing::warn!("cannot forget that a reboot was due: {}", chain(&error));
                }
                self.no_longer_waiting();
                false
            }
            (false, BootsNext::Other) if was_cut && self.is_last_attempt_waiting() => {
                tracing::warn!(
                    "an update was committed right before the daemon ended: it waits for the reboot"
                );
                // What the attempt had no time for: without it nobody is told of the success after the reboot.
                self.remember_success();
                // Whose request it is that is there already, nobody knows any more.
                if let Err(error) = self.leave_word(RebootRequest::of(self.host()).is_made()) {
                    tracing::warn!("cannot remember that a reboot is due: {}", chain(&error));
                }
                true
            }
            (is_marked, _) => is_marked,
        }
    }

    /// The marker is gone. Where the running slot boots next and is good, it isn't left any more, and what it holds is
    /// blamed for nothing. Blocks.
    pub(super) fn no_longer_waiting(&self) {
        let staying = slots::open(&self.settings).and_then(|disk| {
            let stays =
                slots::boots_next(&disk)? == BootsNext::Running && disk.attributes(disk.running())?.is_good();
            Ok(stays.then_some(disk))
        });
        match staying {
            Ok(Some(disk)) => self.keep_running(&disk),
            Ok(None) => self.settle_attempts(),
            Err(error) => {
                tracing::warn!("{}", chain(&error));
                self.settle_attempts();
            }
        }
    }

    /// Marker and request for a reboot; the latter is not ours if it `was_wanted` by somebody else before. Blocks.
    pub(super) fn leave_word(&self, was_wanted: bool) -> io::Result<()> {
        remember(self.host())?;
        // Images' postinsts leave it too; where none is run, reboot managers wait for it all the same.
        let request = RebootRequest::of(self.host());
        request.make()?;
        if was_wanted {
            return Ok(());
        }
        request.claim()
    }
}

/// The disk's slots, of which the other one may be waited for: whoever makes it unbootable takes that back
/// first.
///
/// The disk's lock is tried first: while another program has it, nothing is given up. Then, in this order, and what a cut between
/// leaves behind (after a power cut there are no such files at all):
/// 0. what the slot holds is forgotten, if it is to be written: a whole slot of unknown version, never one of a wrong
///    version. Before this the attempt may still be refused, and whatever the slot holds stays known;
/// 1. the marker: a daemon that is started anew is idle, and the slot still boots next, whole and verified;
/// 2. the request for a reboot: nobody reboots for the slot's sake any more. Before this, somebody does, into
///    a whole slot;
/// 3. the slot, in both copies of the table: the running one boots, which was found good before;
/// 4. if nothing is to be written, extensions of the slot's version: without that, they go with the next update.
///
/// The other way round, a daemon that is started anew would wait for a reboot into a slot that doesn't boot.
///
/// Where a rollback by hand is withdrawn, both slots are good, and the third step puts the running one first instead. After
/// it the record takes back that this one was left; a cut before that leaves it to the next start, which marks the
/// running slot good and takes it back then.
pub(super) struct AnnouncedSlots {
    pub(super) disk: SlotDisk,
    pub(super) node: Node,
}

impl AnnouncedSlots {
    /// Makes the other slot unbootable if it is still to be tried. One that was marked good is what the node
    /// falls back to, and one that was tried is what a rollback is told from: there the running slot goes first
    /// again, and that is all.
    ///
    /// # Errors
    /// If the running slot isn't good, or files or table can't be changed.
    pub(super) fn withdraw(&self) -> Result<(), DiskError> {
        let other = !self.disk.running();
        self.disk.require_running_good(other)?;
        let attributes = self.disk.attributes(other)?;
        if attributes.is_successful() || !attributes.is_selectable() {
            self.take_back(other)?;
            // A rollback has put it first.
            self.disk.mark_good()?;
            return Ok(());
        }
        self.disk.require_lock()?;
        self.take_back(other)?;
        self.disk.make_unbootable(other)?;
        self.node.drop_other_extensions(!other);
        tracing::info!("{other} is withdrawn: it does not boot");
        Ok(())
    }

    fn take_back(&self, slot: SlotName) -> Result<(), DiskError> {
        forget(self.node.host()).map_err(|source| DiskError::Announced { slot, source })
    }
}

impl Slots for AnnouncedSlots {
    fn running(&self) -> SlotName {
        self.disk.running()
    }

    fn require_running_good(&self, target: SlotName) -> Result<(), DiskError> {
        self.disk.require_running_good(target)
    }

    fn boot_risks(&self, host: &Host) -> Result<Vec<BootRisk>, DiskError> {
        self.disk.boot_risks(host)
    }

    fn make_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.disk.require_lock()?;
        self.node.forget_version(&self.disk, slot);
        self.take_back(slot)?;
        self.disk.make_unbootable(slot)
    }

    fn make_next(&self, slot: SlotName) -> Result<(), DiskError> {
        self.disk.make_next(slot)
    }

    fn open_target(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.disk.open_target(slot)
    }

    fn reserve(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.disk.reserve(slot)
    }

    fn open_source(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.disk.open_source(slot)
    }

    fn seal(&self, slot: SlotName) -> Result<Sealed, DiskError> {
        self.disk.seal(slot)
    }

    fn own_disk(&self) -> Result<OwnDisk, DiskError> {
        self.disk.own_disk()
    }
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
        assert!(!is_pending(&host));
        forget(&host).unwrap();
        remember(&host).unwrap();
        let metadata = fs::metadata(host.path(MARKER)).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.len()), (0o600, 0));
        assert!(is_pending(&host));
        forget(&host).unwrap();
        assert!(!is_pending(&host));
    }
}
