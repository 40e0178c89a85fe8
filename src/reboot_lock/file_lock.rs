//! The check whether a process holds a file's lock (flock). It doesn't take the lock, so that a process which tries to at that
//! moment is not refused.
//!
//! The kernel lists all locks by device and inode. Both are read as it writes them there: a file's own attributes name
//! another device on some file systems.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

/// Whether a process holds an exclusive lock on `file`. Processes in other PID namespaces are not seen.
///
/// # Errors
/// If the kernel's list can't be read.
pub(super) fn is_held(file: &File) -> io::Result<bool> {
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let field = |name: &str| {
        let mut lines = about.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(key, value)| (key == name).then(|| value.trim()))
    };
    // Linux before 5.14 doesn't say.
    let inode = match field("ino") {
        Some(inode) => inode.to_owned(),
        None => file.metadata()?.ino().to_string(),
    };
    let mount = field("mnt_id").ok_or_else(|| io::Error::other("no mnt_id in fdinfo"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let device = device(&mounts, mount).ok_or_else(|| io::Error::other("no such mount in mountinfo"))?;
    let locks = fs::read_to_string("/proc/locks")?;
    Ok(locks.lines().any(|line| is_lock_on(line, &device, &inode)))
}

/// The device of a mount as the list of locks has it, from `mountinfo`: `24 1 254:0 …`.
fn device(mounts: &str, mount: &str) -> Option<String> {
    let mut fields = mounts.lines().map(str::split_ascii_whitespace);
    let mut fields = fields.find_map(|mut fields| (fields.next() == Some(mount)).then_some(fields))?;
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(format!("{major:02x}:{minor:02x}"))
}

/// Whether a line of the list is of a lock that is held: `1: FLOCK  ADVISORY  WRITE 4711 fe:00:9912 0 EOF`. One that is only
/// waited for has an arrow behind its number.
fn is_lock_on(line: &str, device: &str, inode: &str) -> bool {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let is_exclusive = fields.next() == Some("FLOCK") && fields.nth(1) == Some("WRITE");
    let place = fields.nth(1).and_then(|place| place.rsplit_once(':'));
    is_exclusive && place == Some((device, inode))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use nix::fcntl::{Flock, FlockArg};

    use super::*;

    #[test]
    fn a_lock_is_seen_while_it_is_held_and_looking_takes_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let looks = || is_held(&File::open(file.path()).unwrap()).unwrap();
        let holds = |kind| Flock::lock(File::open(file.path()).unwrap(), kind).unwrap();
        assert!(!looks());
        let held = holds(FlockArg::LockExclusiveNonblock);
        assert!(looks());
        drop(held);
        assert!(!looks());
        let reader = holds(FlockArg::LockSharedNonblock);
        assert!(!looks());
        drop(reader);
        // A descriptor that has looked stands in nobody's way.
        let looker = File::open(file.path()).unwrap();
        assert!(!is_held(&looker).unwrap());
        let _held = holds(FlockArg::LockExclusiveNonblock);
        assert!(is_held(&looker).unwrap());
    }

    #[test]
    fn lines_of_the_kernel_are_told_apart() {
        let held = "1: FLOCK  ADVISORY  WRITE 4711 fe:00:9912 0 EOF";
        assert!(is_lock_on(held, "fe:00", "9912"));
        for line in [
            "",
            "1:",
            "1: FLOCK  ADVISORY  READ 4711 fe:00:9912 0 EOF",
            "1: POSIX  ADVISORY  WRITE 4711 fe:00:9912 0 EOF",
            "1: -> FLOCK  ADVISORY  WRITE 4711 fe:00:9912 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 4711 fe:00:99129 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 4711 fe:01:9912 0 EOF",
        ] {
            assert!(!is_lock_on(line, "fe:00", "9912"), "{line}");
        }
        let mounts = "24 1 254:0 / / rw - ext4 /dev/vda rw\n25 24 0:23 / /run rw - tmpfs tmpfs rw\n";
        assert_eq!(device(mounts, "24").as_deref(), Some("fe:00"));
        assert_eq!(device(mounts, "25").as_deref(), Some("00:17"));
        assert_eq!(device(mounts, "2"), None);
    }
}
