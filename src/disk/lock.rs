//! The BSD lock on a whole disk, which every editor of its partition table holds: systemd-repart,
//! sfdisk, growpart, and `udevadm lock` for all others.
//!
//! An image has the same lock, and it also says that one of the slots in the image is a target. An
//! engine that has that target holds the lock already, so that its own edits don't wait for it.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

use crate::host::Host;

/// How long a lock that somebody else has is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked for meanwhile: the kernel can't wait for it up to a given time.
const INTERVAL: Duration = Duration::from_millis(50);

/// An open disk, locked or not. Closing it is what tells udev that the table may have changed.
#[derive(Debug)]
pub(super) enum OpenDisk {
    Locked(Flock<File>),
    Unlocked(File),
}

impl Deref for OpenDisk {
    type Target = File;

    fn deref(&self) -> &File {
        match self {
            Self::Locked(file) => file,
            Self::Unlocked(file) => file,
        }
    }
}

/// Whoever has the lock, if that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder(Option<(u32, Option<String>)>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((pid, Some(name))) => write!(f, "{name} (process {pid})"),
            Some((pid, None)) => write!(f, "process {pid}"),
            None => f.write_str("another program"),
        }
    }
}

/// What became of asking for the lock.
#[derive(Debug)]
pub(super) enum LockOutcome {
    /// Nobody else edits the table while this is open.
    Held(OpenDisk),
    /// Somebody else has had it all the time.
    TimedOut(OpenDisk, Holder),
    /// There are no locks here.
    Impossible(OpenDisk, io::Error),
}

/// Locks `disk`, waiting for `patience` at most.
pub(super) fn lock(disk: File, host: &Host, patience: Duration) -> io::Result<LockOutcome> {
    let identity = identity(&disk.metadata()?);
    if targets().contains_key(&identity) {
        return Ok(LockOutcome::Held(OpenDisk::Unlocked(disk)));
    }
    let until = Instant::now() + patience;
    let mut disk = disk;
    loop {
        disk = match Flock::lock(disk, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(LockOutcome::Held(OpenDisk::Locked(locked))),
            Err((disk, Errno::EWOULDBLOCK)) => disk,
            Err((disk, errno)) => return Ok(LockOutcome::Impossible(OpenDisk::Unlocked(disk), errno.into())),
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let holder = holder(host, &disk.metadata()?);
            return Ok(LockOutcome::TimedOut(OpenDisk::Unlocked(disk), holder));
        }
        std::thread::sleep(INTERVAL.min(left));
    }
}

/// Device and inode.
type FileId = (u64, u64);

fn identity(found: &Metadata) -> FileId {
    (found.dev(), found.ino())
}

/// The images whose lock is held for a target of ours, and by how many.
fn targets() -> MutexGuard<'static, HashMap<FileId, usize>> {
    static TARGETS: LazyLock<Mutex<HashMap<FileId, usize>>> = LazyLock::new(Mutex::default);
    TARGETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An image that is locked because one of its slots is a target of ours.
#[derive(Debug)]
pub(super) struct TargetImage {
    image: Flock<File>,
    identity: FileId,
}

impl TargetImage {
    /// The image, for us alone.
    pub(super) fn lock(image: File) -> io::Result<Self> {
        let identity = identity(&image.metadata()?);
        let image = Flock::lock(image, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
        *targets().entry(identity).or_insert(0) += 1;
        Ok(Self { image, identity })
    }
}

impl Deref for TargetImage {
    type Target = File;

    fn deref(&self) -> &File {
        &self.image
    }
}

impl Drop for TargetImage {
    fn drop(&mut self) {
        let mut targets = targets();
        if let Some(count) = targets.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                targets.remove(&self.identity);
            }
        }
    }
}

/// Whoever has the lock on the file with this `metadata`, by `/proc/locks`.
fn holder(host: &Host, metadata: &Metadata) -> Holder {
    let locks = fs::read_to_string(host.path("/proc/locks")).unwrap_or_default();
    let pid = locks.lines().find_map(|line| flock_holder(line, metadata));
    Holder(pid.map(|pid| (pid, name_of(host, pid))))
}

/// `1: FLOCK  ADVISORY  WRITE 4711 00:06:351 0 EOF`: process, then device and inode of the file.
/// Those that wait for a lock have an arrow after the number.
fn flock_holder(line: &str, metadata: &Metadata) -> Option<u32> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, _, pid, file, ..] = fields[..] else {
        return None;
    };
    let (dev, inode) = (metadata.dev(), metadata.ino());
    let own = format!("{:02x}:{:02x}:{inode}", major(dev), minor(dev));
    (file == own).then(|| pid.parse().ok())?
}

fn name_of(host: &Host, pid: u32) -> Option<String> {
    let path = host.path("/proc").join(pid.to_string()).join("comm");
    read_name(&path).filter(|name| !name.is_empty())
}

fn read_name(path: &Path) -> Option<String> {
    let name = fs::read_to_string(path).ok()?;
    Some(name.trim_end().chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_held_is_waited_for_and_its_holder_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().read(true).write(true).open(file.path()).unwrap();
        let held = Flock::lock(open(), FlockArg::LockExclusiveNonblock).unwrap();
        let host = Host::new("/");
        let LockOutcome::TimedOut(_, holder) = lock(open(), &host, Duration::ZERO).unwrap() else {
            panic!("locked twice");
        };
        let pid = std::process::id();
        let own = name_of(&host, pid);
        assert_eq!(holder, Holder(Some((pid, own))));
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(open(), &host, Duration::from_secs(600)).unwrap());
            drop(held);
            waiting.join().unwrap()
        });
        assert!(
            matches!(waiting, LockOutcome::Held(OpenDisk::Locked(_))),
            "{waiting:?}"
        );
    }

    #[test]
    fn an_image_that_is_a_target_of_ours_is_not_waited_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().read(true).write(true).open(file.path()).unwrap();
        let host = Host::new("/");
        let ask = || lock(open(), &host, Duration::ZERO).unwrap();
        let target = TargetImage::lock(open()).unwrap();
        assert!(TargetImage::lock(open()).is_err());
        assert!(matches!(ask(), LockOutcome::Held(OpenDisk::Unlocked(_))));
        drop(target);
        assert!(matches!(ask(), LockOutcome::Held(OpenDisk::Locked(_))));
    }

    #[test]
    fn a_holder_that_cannot_be_told_is_another_program() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let metadata = fs::metadata(root.path()).unwrap();
        assert_eq!(holder(&host, &metadata).to_string(), "another program");
        let (dev, inode) = (metadata.dev(), metadata.ino());
        let device = format!("{:02x}:{:02x}", major(dev), minor(dev));
        let locks = format!(
            "1: POSIX  ADVISORY  WRITE 7 {device}:{inode} 0 EOF\n\
             2: FLOCK  ADVISORY  WRITE 8 {device}:{inode}0 0 EOF\n\
             3: FLOCK  ADVISORY  WRITE 9 {device}:{inode} 0 EOF\n\
             3: -> FLOCK  ADVISORY  WRITE 10 {device}:{inode} 0 EOF\n"
        );
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/locks"), locks).unwrap();
        assert_eq!(holder(&host, &metadata).to_string(), "process 9");
        fs::create_dir(root.path().join("proc/9")).unwrap();
        fs::write(root.path().join("proc/9/comm"), "sfdisk\n").unwrap();
        assert_eq!(holder(&host, &metadata).to_string(), "sfdisk (process 9)");
    }
}
