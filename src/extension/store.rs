//! The store of extensions: a directory for each version, which appears and goes as a whole.
//!
//! ```text
//!  DIRECTORY/1.0.0/oem.raw      the running version's
//!  DIRECTORY/2.0.0/oem.raw      the other slot's
//!  DIRECTORY/.staged/           on their way; never used by anybody
//!  DIRECTORY/.removed/          likewise, on their way out
//! ```
//!
//! Each directory that we make holds a file [`MARK`] with the names of the slots that it belongs
//! to; what doesn't is somebody else's, and stays. The running system's is the one of its version,
//! and any that belongs to its slot: the version that a server says and the one that an image says
//! may differ.
//!
//! Order, and what a cut between leaves behind. The new version's slot does not boot from before
//! the third step until after the fifth:
//! 1. files are built in `.staged`, each durable with its name. A cut leaves `.staged`, removed by
//!    the next start;
//! 2. an older directory of the same version is renamed to `.removed` and removed. It belonged to
//!    no slot that boots. A cut leaves either of the two, of which the latter is removed by the
//!    next start;
//! 3. `.staged` is renamed to the version. A cut leaves the whole version or nothing of it. Where
//!    the same files are there already, their mark is replaced by one that names both slots: a cut
//!    leaves them to the one slot, or also to the other, which doesn't boot;
//! 4. the directory is synced. A cut from here on leaves a version of a slot that does not boot; it
//!    goes when another update is complete;
//! 5. the slot is made the one that boots next (not here). From here on the version is there
//!    whenever its slot boots;
//! 6. versions of neither slot go, as in step 2, and those of both that the other slot has left are
//!    the running one's alone. A cut leaves some of them, which go with the next update.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::owners::{self, MARK, Owners};

const STAGED: &str = ".staged";
const REMOVED: &str = ".removed";

/// Bytes read at once.
const STEP: usize = 1 << 16;

/// Error of the store.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionStoreError {
    /// A file or directory can't be read, made, renamed or removed.
    #[error("{action} {}", path.display())]
    Io {
        /// The action: `making`, `removing` …
        action: &'static str,
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// The place is taken by files of another program.
    #[error("{} was not made by this engine", .0.display())]
    Foreign(PathBuf),
    /// The place is taken by the running system's extensions.
    #[error("{} belongs to the running system, and the update's extensions of the same version differ", .0.display())]
    InUse(PathBuf),
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ExtensionStoreError {
    let path = path.to_owned();
    move |source| ExtensionStoreError::Io { action, path, source }
}

/// The running system, whose extensions stay as they are.
#[derive(Debug, Clone, Copy)]
pub struct RunningSystem<'a> {
    /// The name of its slot.
    pub slot: &'a str,
    /// Its version; empty if unknown.
    pub version: &'a str,
}

/// The directory of all versions.
#[derive(Debug, Clone)]
pub struct ExtensionStore(PathBuf);

/// Content of the place where a version is to be put.
enum ExistingVersion {
    Nothing,
    /// The same files.
    Same,
    /// Extensions of ours with other files.
    Other,
}

impl ExtensionStore {
    /// The store at `path`, which need not exist.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Directory in which extensions are built.
    #[must_use]
    pub fn staged(&self) -> PathBuf {
        self.0.join(STAGED)
    }

    /// Makes the directory in which extensions for `slot` are built, empty.
    ///
    /// # Errors
    /// [`ExtensionStoreError::Io`].
    pub fn stage(&self, slot: &str) -> Result<PathBuf, ExtensionStoreError> {
        self.clear()?;
        let staged = self.staged();
        self::mark(&staged, &Owners::one(slot))?;
        Ok(staged)
    }

    /// Removes unfinished work of earlier attempts.
    ///
    /// # Errors
    /// [`ExtensionStoreError::Io`].
    pub fn clear(&self) -> Result<(), ExtensionStoreError> {
        discard(&self.0.join(STAGED))?;
        discard(&self.0.join(REMOVED))
    }

    /// Checks that the staged extensions could become `version`.
    ///
    /// # Errors
    /// [`ExtensionStoreError`].
    pub fn require_place(
        &self,
        version: &str,
        running: RunningSystem<'_>,
    ) -> Result<(), ExtensionStoreError> {
        self.look(version, running).map(drop)
    }

    /// Makes the staged extensions `version`. If the same files are there already, they belong to
    /// both slots.
    ///
    /// # Errors
    /// [`ExtensionStoreError`]; the running version's files are then as they were.
    pub fn place(&self, version: &str, running: RunningSystem<'_>) -> Result<(), ExtensionStoreError> {
        match self.look(version, running)? {
            ExistingVersion::Same => {
                self.share(version, running)?;
                return self.clear();
            }
            ExistingVersion::Other => self.remove(version)?,
            ExistingVersion::Nothing => {}
        }
        let path = self.0.join(version);
        fs::rename(self.staged(), &path).map_err(failed("making", &path))?;
        sync(&self.0)
    }

    /// Removes `version`, unless it is not ours. The running system's is not removed: it belongs to
    /// that slot alone afterwards.
    ///
    /// # Errors
    /// [`ExtensionStoreError::Io`].
    pub fn take_back(&self, version: &str, running: RunningSystem<'_>) -> Result<(), ExtensionStoreError> {
        if !self.is_used(version, running) {
            return self.remove(version);
        }
        let (path, own) = (self.0.join(version), Owners::one(running.slot));
        match Owners::of(&path) {
            Ok(owners) if owners.contains(running.slot) && owners != own => mark(&path, &own),
            _ => Ok(()),
        }
    }

    /// Makes `version`, which has the same files as the staged extensions, belong to both slots.
    fn share(&self, version: &str, running: RunningSystem<'_>) -> Result<(), ExtensionStoreError> {
        let (path, staged) = (self.0.join(version), self.staged());
        let new = Owners::of(&staged).map_err(failed("reading", &staged))?;
        // A mark that can't be read may be the running slot's.
        let old = Owners::of(&path).unwrap_or_else(|_| Owners::one(running.slot));
        let both = old.clone().and(new);
        if both == old && Owners::of(&path).is_ok() {
            return Ok(());
        }
        mark(&path, &both)
    }

    /// Removes all versions of ours except the running system's and `new`.
    ///
    /// # Errors
    /// [`ExtensionStoreError::Io`].
    pub fn prune(&self, new: Option<&str>, running: RunningSystem<'_>) -> Result<(), ExtensionStoreError> {
        for name in names(&self.0)? {
            if !name.starts_with('.') && new != Some(&name) {
                self.take_back(&name, running)?;
            }
        }
        Ok(())
    }

    fn is_used(&self, version: &str, running: RunningSystem<'_>) -> bool {
        // A mark that can't be read may be the running slot's.
        let owners = Owners::of(&self.0.join(version));
        version == running.version || owners.map_or(true, |owners| owners.contains(running.slot))
    }

    fn remove(&self, version: &str) -> Result<(), ExtensionStoreError> {
        let (path, removed) = (self.0.join(version), self.0.join(REMOVED));
        if !is_ours(&path) {
            return Ok(());
        }
        discard(&removed)?;
        fs::rename(&path, &removed).map_err(failed("removing", &path))?;
        sync(&self.0)?;
        discard(&removed)
    }

    fn look(
        &self,
        version: &str,
        running: RunningSystem<'_>,
    ) -> Result<ExistingVersion, ExtensionStoreError> {
        let path = self.0.join(version);
        if !path.exists() {
            return Ok(ExistingVersion::Nothing);
        }
        if !is_ours(&path) {
            return Err(ExtensionStoreError::Foreign(path));
        }
        match same(&path, &self.staged())? {
            true => Ok(ExistingVersion::Same),
            false if self.is_used(version, running) => Err(ExtensionStoreError::InUse(path)),
            false => Ok(ExistingVersion::Other),
        }
    }
}

/// Removes an unused directory, if it exists.
fn discard(directory: &Path) -> Result<(), ExtensionStoreError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", directory)(error)),
        _ => Ok(()),
    }
}

fn is_ours(directory: &Path) -> bool {
    directory.join(MARK).is_file()
}

fn mark(directory: &Path, owners: &Owners) -> Result<(), ExtensionStoreError> {
    owners
        .mark(directory)
        .map_err(failed("making", &owners::path(directory)))
}

fn sync(directory: &Path) -> Result<(), ExtensionStoreError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(failed("syncing", directory))
}

/// Names in a directory, ascending; none if it doesn't exist.
fn names(directory: &Path) -> Result<Vec<String>, ExtensionStoreError> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let entries = listed.map_err(failed("reading", directory))?;
    // A name that is no text is none of ours.
    let mut names: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Whether two directories hold the same extensions.
fn same(one: &Path, other: &Path) -> Result<bool, ExtensionStoreError> {
    // No extension is hidden: these are marks, and what a cut left of one.
    let extensions = |directory| {
        let mut names = names(directory)?;
        names.retain(|name| !name.starts_with('.'));
        Ok::<_, ExtensionStoreError>(names)
    };
    let names_of_one = extensions(one)?;
    if names_of_one != extensions(other)? {
        return Ok(false);
    }
    for name in &names_of_one {
        let (one, other) = (one.join(name), other.join(name));
        if !same_bytes(&one, &other).map_err(failed("reading", &one))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    let mut left = one.metadata()?.len();
    if left != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut mine, mut theirs) = (vec![0; STEP], vec![0; STEP]);
    while left > 0 {
        let now = usize::try_from(left).map_or(STEP, |left| left.min(STEP));
        (&one).read_exact(&mut mine[..now])?;
        (&other).read_exact(&mut theirs[..now])?;
        if mine[..now] != theirs[..now] {
            return Ok(false);
        }
        left -= now as u64;
    }
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ExtensionStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = ExtensionStore::new(directory.path().join("new/extensions"));
        (directory, store)
    }

    const RUNNING: RunningSystem<'_> = RunningSystem {
        slot: "USR-A",
        version: "1",
    };

    /// For the other slot.
    fn place(store: &ExtensionStore, version: &str, contents: &str) -> Result<(), ExtensionStoreError> {
        place_for("USR-B", store, version, contents)
    }

    fn place_for(
        slot: &str,
        store: &ExtensionStore,
        version: &str,
        contents: &str,
    ) -> Result<(), ExtensionStoreError> {
        let staged = store.stage(slot).unwrap();
        fs::write(staged.join("oem.raw"), contents).unwrap();
        store.place(version, RUNNING)
    }

    fn oem(store: &ExtensionStore, version: &str) -> Option<String> {
        fs::read_to_string(store.0.join(version).join("oem.raw")).ok()
    }

    #[test]
    fn a_version_appears_replaces_its_like_and_goes() {
        let (_directory, store) = store();
        store.prune(None, RUNNING).unwrap();
        place(&store, "1", "a").unwrap();
        place(&store, "2", "b").unwrap();
        place(&store, "2", "c").unwrap();
        assert_eq!(
            (oem(&store, "1").unwrap(), oem(&store, "2").unwrap()),
            ("a".into(), "c".into())
        );
        store.prune(Some("2"), RUNNING).unwrap();
        assert_eq!(names(&store.0).unwrap(), ["1", "2"]);
        store.prune(None, RUNNING).unwrap();
        assert_eq!(names(&store.0).unwrap(), ["1"]);
    }

    #[test]
    fn what_was_made_for_the_running_slot_stays_whatever_its_version_is_called() {
        let (_directory, store) = store();
        place_for("USR-A", &store, "one", "a").unwrap();
        place(&store, "2", "b").unwrap();
        store.take_back("one", RUNNING).unwrap();
        store.prune(Some("2"), RUNNING).unwrap();
        assert_eq!(names(&store.0).unwrap(), ["2", "one"]);
        assert!(matches!(
            place(&store, "one", "b"),
            Err(ExtensionStoreError::InUse(_))
        ));
    }

    /// The server's version 2 is in both slots, whose image says something else.
    #[test]
    fn what_is_there_already_belongs_to_both_slots_until_one_has_left_it() {
        let slot = |name| RunningSystem {
            slot: name,
            version: "two",
        };
        let (a, b) = (slot("USR-A"), slot("USR-B"));
        let (_directory, store) = store();
        let install = |name, contents, target, running| {
            let staged = store.stage(target).unwrap();
            fs::write(staged.join("oem.raw"), contents).unwrap();
            store.place(name, running).unwrap();
            store.prune(Some(name), running).unwrap();
        };
        let owners = |name| Owners::of(&store.0.join(name)).unwrap();
        let of_a = || Owners::one("USR-A");
        let of_b = || Owners::one("USR-B");
        install("2", "a", "USR-A", b);
        // A runs. A cut has left something of a mark.
        fs::write(store.0.join("2").join(format!(".{MARK}.new")), "USR").unwrap();
        install("2", "a", "USR-B", a);
        assert_eq!(owners("2"), of_a().and(of_b()));
        // B runs: its own stays while A gets another one, and is its alone then.
        install("3", "b", "USR-A", b);
        assert_eq!(names(&store.0).unwrap(), ["2", "3"]);
        assert_eq!((owners("2"), owners("3")), (of_b(), of_a()));
        // A runs, and B gets another one.
        install("4", "c", "USR-B", a);
        assert_eq!(names(&store.0).unwrap(), ["3", "4"]);
    }

    #[test]
    fn a_slot_that_does_not_boot_leaves_what_it_shared_to_the_running_one() {
        let (_directory, store) = store();
        place_for("USR-A", &store, "one", "a").unwrap();
        place_for("USR-B", &store, "one", "a").unwrap();
        store.take_back("one", RUNNING).unwrap();
        assert_eq!(Owners::of(&store.0.join("one")).unwrap(), Owners::one("USR-A"));
        assert_eq!(oem(&store, "one").unwrap(), "a");
    }

    #[test]
    fn the_running_version_is_only_replaced_by_itself() {
        let (_directory, store) = store();
        place(&store, "1", "a").unwrap();
        place(&store, "1", "a").unwrap();
        assert_eq!(names(&store.0).unwrap(), ["1"]);
        for other in ["b", "ab"] {
            assert!(matches!(
                place(&store, "1", other),
                Err(ExtensionStoreError::InUse(_))
            ));
            assert_eq!(oem(&store, "1").unwrap(), "a");
        }
    }

    #[test]
    fn what_others_keep_there_stays() {
        let (_directory, store) = store();
        place(&store, "2", "a").unwrap();
        fs::create_dir(store.0.join("theirs")).unwrap();
        fs::write(store.0.join("file.raw"), "x").unwrap();
        store.prune(None, RUNNING).unwrap();
        assert_eq!(names(&store.0).unwrap(), ["file.raw", "theirs"]);
        let refused = place(&store, "theirs", "a");
        assert!(
            matches!(refused, Err(ExtensionStoreError::Foreign(_))),
            "{refused:?}"
        );
    }

    #[test]
    fn what_a_cut_left_is_cleared() {
        let (_directory, store) = store();
        let staged = store.stage("USR-B").unwrap();
        fs::write(staged.join("oem.raw"), "half").unwrap();
        fs::create_dir(store.0.join(REMOVED)).unwrap();
        store.clear().unwrap();
        assert_eq!(names(&store.0).unwrap(), [""; 0]);
    }
}
