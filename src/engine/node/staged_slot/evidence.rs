//! The evidence that a living process holds the staged slot since it has read that back, and the
//! lock of whoever activates or withdraws.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use payload_format::Sha256Digest;

use super::ActivationError;
use crate::host::Host;
use crate::policy::StagedUpdate;

const EVIDENCE: &str = "/run/update_engine/staged";
const LOCK: &str = "/run/update_engine/staging.lock";

/// How long another program is waited for that activates or withdraws: a shutdown waits for us.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(10);

/// What the evidence of this record says.
fn name_of(staged: &StagedUpdate) -> String {
    let identity = format!("{} {} {}", staged.partuuid, staged.image, staged.kernel_sha256);
    Sha256Digest::of(identity.as_bytes()).to_string()
}

fn open_in_run(host: &Host, path: &str) -> io::Result<File> {
    let path = host.path(path);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// What a kernel's file is recognized by without reading it: size and time of its last change.
/// Neither inode nor ctime: FAT makes them up anew whenever it is mounted.
pub(super) fn kernel_mark(file: &fs::Metadata) -> String {
    format!("{} {}.{:09}", file.len(), file.mtime(), file.mtime_nsec())
}

/// Leaves the evidence, with the mark of the kernel that was read, which counts until the file is
/// closed.
pub(super) fn leave(host: &Host, staged: &StagedUpdate, kernel: &str) -> io::Result<Flock<File>> {
    let file = open_in_run(host, EVIDENCE)?;
    let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
    file.set_len(0)?;
    file.write_all(format!("{}\n{kernel}", name_of(staged)).as_bytes())?;
    Ok(file)
}

/// The mark of the kernel that was read, if a living process, this one or another, holds the slot
/// of `staged` that it has read back.
pub(super) fn held(host: &Host, staged: &StagedUpdate) -> io::Result<Option<String>> {
    let mut file = match File::open(host.path(EVIDENCE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut evidence = String::new();
    (&mut file).take(1 << 10).read_to_string(&mut evidence)?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        // Nobody vouches for it any more.
        Ok(_) => Ok(None),
        Err((_, Errno::EWOULDBLOCK)) => {
            let (name, kernel) = evidence.split_once('\n').unwrap_or((&evidence, ""));
            Ok((name == name_of(staged)).then(|| kernel.to_owned()))
        }
        Err((_, errno)) => Err(errno.into()),
    }
}

/// The lock of a process that activates or withdraws; closing the file releases it.
pub(super) fn lock(host: &Host) -> Result<Flock<File>, ActivationError> {
    let until = Instant::now() + PATIENCE;
    let mut file = open_in_run(host, LOCK).map_err(ActivationError::Run)?;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(ActivationError::Run(errno.into())),
        };
        if Instant::now() >= until {
            return Err(ActivationError::Locked);
        }
        thread::sleep(INTERVAL);
    }
}
