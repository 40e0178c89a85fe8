//! The reboot request: the sentinel file that reboot managers watch for, and the claim that it is
//! ours.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};

use crate::host::Host;

/// Reboot managers watch for it (kured's default sentinel); a tmpfs, so a reboot clears it.
const REBOOT_REQUIRED: &str = "/run/reboot-required";
/// Says which request for a reboot is ours.
const CLAIM: &str = "/run/update_engine/reboot-required";

/// Says that there was none when a program was started that must ask for none.
const ABSENCE: &str = "/run/update_engine/no-reboot-required";

/// The outcome of a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// The request is withdrawn.
    Gone,
    /// There was no request of ours.
    NotOurs,
}

/// The request for a reboot of one machine. Every method blocks.
#[derive(Debug, Clone, Copy)]
pub struct RebootRequest<'h> {
    host: &'h Host,
}

impl<'h> RebootRequest<'h> {
    /// The request for a reboot of `host`, whether it has been made or not.
    #[must_use]
    pub const fn of(host: &'h Host) -> Self {
        Self { host }
    }

    /// Asks for a reboot through `/run/reboot-required`; a file that is there already stays as it
    /// is.
    ///
    /// # Errors
    /// When the file or `/run` below the root cannot be created.
    pub fn make(self) -> io::Result<()> {
        let path = self.host.path(REBOOT_REQUIRED);
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

    /// Whether a reboot has been asked for, by this daemon or anyone else. If the file can't be
    /// looked at, it counts as someone else's request, which is never withdrawn.
    #[must_use]
    pub fn is_made(self) -> bool {
        self.host.is_there(REBOOT_REQUIRED).unwrap_or(true)
    }

    /// Takes the request for a reboot that is there as ours, to be withdrawn by [`Self::withdraw`].
    ///
    /// # Errors
    /// When the claim cannot be written beside it; the request then stays until the reboot.
    pub fn claim(self) -> io::Result<()> {
        let path = self.host.path(CLAIM);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, self.identity()?)
    }

    /// Withdraws our request for a reboot. One that somebody else made, or has made anew since,
    /// stays: it is not ours to judge whether that reboot is still wanted.
    ///
    /// The request goes before the claim: a process that is killed in between leaves a claim of
    /// nothing. The other way round it would leave a request that nobody withdraws.
    ///
    /// # Errors
    /// When claim or request are there and cannot be read or removed.
    pub fn withdraw(self) -> io::Result<Withdrawn> {
        let missing_is_none = |read: io::Result<String>| match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        };
        let Some(claimed) = missing_is_none(fs::read_to_string(self.host.path(CLAIM)))? else {
            return Ok(Withdrawn::NotOurs);
        };
        let is_ours = missing_is_none(self.identity())? == Some(claimed);
        if is_ours {
            fs::remove_file(self.host.path(REBOOT_REQUIRED))?;
        }
        fs::remove_file(self.host.path(CLAIM))?;
        Ok(if is_ours {
            Withdrawn::Gone
        } else {
            Withdrawn::NotOurs
        })
    }

    /// Takes note that nobody has asked for a reboot yet, before a program is run that may ask for
    /// one, and is not to.
    ///
    /// # Errors
    /// When the note can't be written.
    pub fn note_absence(self) -> io::Result<()> {
        let path = self.host.path(ABSENCE);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, "")
    }

    /// Whether that was noted, and nothing withdrawn since: the program, or we, ended before.
    #[must_use]
    pub fn is_absence_noted(self) -> bool {
        // A note that can't be looked at withdraws nothing.
        self.host.is_there(ABSENCE).unwrap_or(false)
    }

    /// Withdraws a request that was made since [`Self::note_absence`], then takes the note away.
    ///
    /// # Errors
    /// When one of them can't be removed.
    pub fn withdraw_unwanted(self) -> io::Result<Withdrawn> {
        let withdrawn = if self.is_made() {
            self.claim()?;
            self.withdraw()?
        } else {
            Withdrawn::NotOurs
        };
        match fs::remove_file(self.host.path(ABSENCE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(withdrawn),
        }
    }

    /// The identity of a request: inode and modification time, which change when the file is
    /// touched anew.
    fn identity(self) -> io::Result<String> {
        let file = fs::metadata(self.host.path(REBOOT_REQUIRED))?;
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
        let request = RebootRequest::of(&host);
        assert!(!request.is_made());
        assert_eq!(request.withdraw().unwrap(), Withdrawn::NotOurs);
        request.make().unwrap();
        request.make().unwrap();
        request.claim().unwrap();
        assert!(root.path().join("run/reboot-required").is_file());
        assert_eq!(request.withdraw().unwrap(), Withdrawn::Gone);
        assert!(!request.is_made());
    }

    #[test]
    fn a_reboot_that_others_want_is_not_withdrawn() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let request = RebootRequest::of(&host);
        request.make().unwrap();
        assert_eq!(request.withdraw().unwrap(), Withdrawn::NotOurs);
        request.claim().unwrap();
        // Somebody asks anew.
        let file = File::open(root.path().join("run/reboot-required")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(request.withdraw().unwrap(), Withdrawn::NotOurs);
        assert!(request.is_made());
    }

    #[test]
    fn a_request_that_was_made_where_none_was_to_be_is_withdrawn() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let request = RebootRequest::of(&host);
        assert!(!request.is_absence_noted());
        request.note_absence().unwrap();
        assert!(request.is_absence_noted());
        request.make().unwrap();
        assert_eq!(request.withdraw_unwanted().unwrap(), Withdrawn::Gone);
        assert!(!request.is_made() && !request.is_absence_noted());
        assert_eq!(request.withdraw_unwanted().unwrap(), Withdrawn::NotOurs);
    }

    #[test]
    fn a_request_of_which_nobody_knows_counts_as_made() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("run"), "").unwrap();
        assert!(RebootRequest::of(&Host::new(root.path())).is_made());
    }
}
