//! Sentinel files: their mere existence is a message.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};

use super::{Host, Unreadable};

/// Reboot managers watch for it (kured's default sentinel); a tmpfs, so a reboot clears it.
const REBOOT_REQUIRED: &str = "/run/reboot-required";
/// Says which request for a reboot is ours.
const CLAIM: &str = "/run/update_engine/reboot-required";
/// Where a reboot is recorded that a machine of its own would make.
const REBOOT: &str = "/run/update_engine/reboot";
const DEV_MODE: &str = "/root/.dev_mode";

/// Whether this is a production or a developer's node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeMode {
    /// Ordinary.
    Production,
    /// `/root/.dev_mode` exists: no periodic checks, no backoff.
    Developer,
}

/// What became of a request for a reboot that was to be withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// It is withdrawn.
    Gone,
    /// There was none of ours.
    NotOurs,
}

impl Host {
    /// Which kind of machine this is, now: the file may come and go while the daemon runs.
    ///
    /// # Errors
    /// [`Unreadable`] if nobody knows whether the file is there.
    pub fn mode(&self) -> Result<NodeMode, Unreadable> {
        Ok(if self.is_there(DEV_MODE)? {
            NodeMode::Developer
        } else {
            NodeMode::Production
        })
    }

    /// Asks for a reboot through `/run/reboot-required`; a file that is there already stays as it is.
    ///
    /// # Errors
    /// When the file or `/run` below the root cannot be created.
    pub fn require_reboot(&self) -> io::Result<()> {
        let path = self.path(REBOOT_REQUIRED);
        if let Some(run) = path.parent() {
            fs::create_dir_all(run)?;
        }
        match File::create_new(&path) {
            // Watchers may run as other users, and the daemon's umask is a strict one.
            Ok(file) => file.set_permissions(Permissions::from_mode(0o644)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Leaves word, below a root that only stands for a machine, that it would reboot now.
    ///
    /// # Errors
    /// When the file or its directory cannot be created.
    pub fn record_reboot(&self) -> io::Result<()> {
        let path = self.path(REBOOT);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        File::create(path).map(drop)
    }

    /// Whether a reboot has been asked for, by us or anyone else. One of which nobody knows counts as somebody else's:
    /// what is not ours is never withdrawn.
    #[must_use]
    pub fn reboot_required(&self) -> bool {
        self.is_there(REBOOT_REQUIRED).unwrap_or(true)
    }

    /// Takes the request for a reboot that is there as ours, to be withdrawn by [`Self::withdraw_reboot`].
    ///
    /// # Errors
    /// When the claim cannot be written beside it; the request then stays until the reboot.
    pub fn claim_reboot(&self) -> io::Result<()> {
        let path = self.path(CLAIM);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, self.reboot_request()?)
    }

    /// Withdraws our request for a reboot. One that somebody else made, or has made anew since, stays: it is
    /// not ours to judge whether that reboot is still wanted.
    ///
    /// The request goes before the claim: a process that is killed in between leaves a claim of nothing. The other way
    /// round it would leave a request that nobody withdraws.
    ///
    /// # Errors
    /// When claim or request are there and cannot be read or removed.
    pub fn withdraw_reboot(&self) -> io::Result<Withdrawn> {
        let missing_is_none = |read: io::Result<String>| match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        };
        let Some(claimed) = missing_is_none(fs::read_to_string(self.path(CLAIM)))? else {
            return Ok(Withdrawn::NotOurs);
        };
        let is_ours = missing_is_none(self.reboot_request())? == Some(claimed);
        if is_ours {
            fs::remove_file(self.path(REBOOT_REQUIRED))?;
        }
        fs::remove_file(self.path(CLAIM))?;
        Ok(if is_ours {
            Withdrawn::Gone
        } else {
            Withdrawn::NotOurs
        })
    }

    /// What tells one request from another: touching the file anew changes it.
    fn reboot_request(&self) -> io::Result<String> {
        let file = fs::metadata(self.path(REBOOT_REQUIRED))?;
        Ok(format!("{} {} {}", file.ino(), file.mtime(), file.mtime_nsec()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_can_be_asked_for_twice_and_withdrawn() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        assert!(!host.reboot_required());
        assert_eq!(host.withdraw_reboot().unwrap(), Withdrawn::NotOurs);
        host.require_reboot().unwrap();
        host.require_reboot().unwrap();
        host.claim_reboot().unwrap();
        assert!(root.path().join("run/reboot-required").is_file());
        assert_eq!(host.withdraw_reboot().unwrap(), Withdrawn::Gone);
        assert!(!host.reboot_required());
    }

    #[test]
    fn a_reboot_that_others_want_is_not_withdrawn() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        host.require_reboot().unwrap();
        assert_eq!(host.withdraw_reboot().unwrap(), Withdrawn::NotOurs);
        host.claim_reboot().unwrap();
        // Somebody asks anew.
        let request = File::open(root.path().join("run/reboot-required")).unwrap();
        request.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(host.withdraw_reboot().unwrap(), Withdrawn::NotOurs);
        assert!(host.reboot_required());
    }

    #[test]
    fn developer_mode_is_a_file_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        assert_eq!(host.mode().unwrap(), NodeMode::Production);
        fs::create_dir(root.path().join("root")).unwrap();
        fs::write(root.path().join("root/.dev_mode"), "").unwrap();
        assert_eq!(host.mode().unwrap(), NodeMode::Developer);
    }

    #[test]
    fn a_mark_of_which_nobody_knows_makes_no_machine_official() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        fs::write(root.path().join("root"), "").unwrap();
        assert_eq!(host.mode().unwrap_err().path, DEV_MODE);
        fs::write(root.path().join("run"), "").unwrap();
        assert!(host.reboot_required());
    }
}
