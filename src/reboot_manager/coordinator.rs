//! `coordinator.conf`: which reboot manager this node has. The same file as locksmithd's, so that one refuses beside the
//! other.
//!
//! ```text
//!  step                                            others find
//!  1 open or make the file, lock it (flock)        its old contents; a second manager is refused from here on
//!  2 write and lock a temporary beside it          the old contents
//!  3 rename it over the file                       the new contents, locked
//!  4 close the one before                          likewise
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::host::Host;
use crate::reboot_lock::{COORDINATOR, MANAGER_NAME, Strategy};

/// Tries to hold the file: clients of earlier versions take its lock for an instant to look at it.
const TRIES: u32 = 5;
/// Between two of them.
const RETRY: Duration = Duration::from_millis(50);

/// What the manager is at, in locksmith's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoordinatorState {
    /// It has just started.
    Starting,
    /// It waits for an update.
    Running,
    /// It will reboot once it may.
    RebootPlanned,
    /// logind was asked to reboot.
    Rebooting,
}

impl CoordinatorState {
    const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::RebootPlanned => "reboot-planned",
            Self::Rebooting => "rebooting",
        }
    }
}

/// A node that has another manager, or a file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// Somebody holds the file.
    #[error("another reboot manager runs on this node: {0}")]
    Another(String),
    /// It can't be made or locked.
    #[error("{path} can't be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The failure below.
        source: io::Error,
    },
}

/// The held file; given back when dropped.
#[derive(Debug)]
pub struct CoordinatorFile {
    path: PathBuf,
    strategy: Strategy,
    state: CoordinatorState,
    held: Flock<File>,
}

impl CoordinatorFile {
    /// Becomes the reboot manager of `host`. Blocks.
    ///
    /// # Errors
    /// [`CoordinatorError::Another`] beside another one.
    pub fn new(host: &Host, strategy: Strategy) -> Result<Self, CoordinatorError> {
        let path = host.path(COORDINATOR);
        let state = CoordinatorState::Starting;
        let mut held = hold(&path);
        for _ in 1..TRIES {
            if !matches!(held, Err(Errno::EWOULDBLOCK)) {
                break;
            }
            thread::sleep(RETRY);
            held = hold(&path);
        }
        let held = held.map_err(|error| match error {
            Errno::EWOULDBLOCK => CoordinatorError::Another(holder(&path)),
            error => CoordinatorError::File {
                path: path.clone(),
                source: error.into(),
            },
        })?;
        let mut coordinator = Self {
            path,
            strategy,
            state,
            held,
        };
        coordinator.write().map_err(|source| CoordinatorError::File {
            path: coordinator.path.clone(),
            source,
        })?;
        Ok(coordinator)
    }

    /// Tells what the manager is at. Nobody depends on it.
    pub fn tell(&mut self, state: CoordinatorState) {
        if self.state == state {
            return;
        }
        self.state = state;
        if let Err(error) = self.write() {
            tracing::warn!(%error, "{} can't be written", self.path.display());
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let temporary = self.path.with_extension("conf.new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&temporary)?;
        let (strategy, state) = (self.strategy.word(), self.state.word());
        // Locksmith ends its file without a newline, too.
        write!(file, "NAME={MANAGER_NAME}\nSTRATEGY={strategy}\nSTATE={state}")?;
        fs::set_permissions(&temporary, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
        fs::rename(&temporary, &self.path)?;
        self.held = held;
        Ok(())
    }
}

/// Opens and locks the file that has the name when the lock is there.
fn hold(path: &Path) -> Result<Flock<File>, Errno> {
    let errno = |error: io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(errno)?;
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory, everybody).map_err(errno)?;
    }
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o644);
        let file = file.open(path).map_err(errno)?;
        let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
        // Another may have put a new file in its place in between.
        let (ours, named) = (held.metadata().map_err(errno)?, fs::metadata(path));
        if named.is_ok_and(|named| named.ino() == ours.ino()) {
            return Ok(held);
        }
    }
}

fn holder(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("NAME="));
    let name: String = name.unwrap_or("of unknown name").chars().take(64).collect();
    format!(
        "{}; mask its unit, or this one",
        crate::printable::printable(&name)
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::reboot_lock::ManagerReport;

    #[test]
    fn one_manager_holds_the_file_and_another_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        assert!(!ManagerReport::is_from_a_running_one(&host));
        let mut first = CoordinatorFile::new(&host, Strategy::EtcdLock).unwrap();
        assert!(ManagerReport::is_from_a_running_one(&host));
        let refused = || {
            CoordinatorFile::new(&host, Strategy::Reboot)
                .unwrap_err()
                .to_string()
        };
        assert!(refused().contains("update_reboot_manager"), "{}", refused());
        first.tell(CoordinatorState::RebootPlanned);
        assert!(refused().contains("update_reboot_manager"));
        assert_eq!(
            fs::read_to_string(host.path(COORDINATOR)).unwrap(),
            "NAME=update_reboot_manager\nSTRATEGY=etcd-lock\nSTATE=reboot-planned"
        );
        assert!(ManagerReport::is_from_a_running_one(&host));
        drop(first);
        assert!(!ManagerReport::is_from_a_running_one(&host));
        CoordinatorFile::new(&host, Strategy::Reboot).unwrap();
    }

    #[test]
    fn locksmiths_lock_is_respected() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let path = host.path(COORDINATOR);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "STATE=running\nNAME=locksmithd\nSTRATEGY=reboot").unwrap();
        let file = File::open(&path).unwrap();
        let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        let refused = CoordinatorFile::new(&host, Strategy::Reboot).unwrap_err();
        assert!(refused.to_string().contains("locksmithd"), "{refused}");
        assert!(!ManagerReport::is_from_a_running_one(&host));
        drop(held);
        CoordinatorFile::new(&host, Strategy::Reboot).unwrap();
    }
}
