//! Atomic replacement of a file: a power cut leaves its old or its new contents, nothing else.
//!
//! ```text
//!  step                      a power cut right after it leaves
//!  1 write `.NAME.new`       the old file, and a torn temporary that the next write replaces
//!  2 sync `.NAME.new`        the old file, and a whole temporary, likewise
//!  3 rename it over `NAME`   the old file or the new one
//!  4 sync the directory      the new file
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Replaces `path` by a file of mode 0600 that holds `contents`; missing directories above it are
/// made. When this returns, the new contents survive a power cut. One writer per path at a time.
///
/// # Errors
/// Any I/O error; the file is then either as it was or whole and new.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    replace_by(path, &[contents])
}

/// Like [`replace`], for contents in pieces, so that long ones need not be joined.
///
/// # Errors
/// Likewise.
pub fn replace_by(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    let mut staged = Staged::create(path)?;
    let renamed = staged
        .write(pieces)
        .and_then(|()| staged.sync())
        .and_then(|()| staged.rename());
    if let Err(error) = renamed {
        // Where the disk is full, what has been written of it takes the room that others need. The
        // next write replaces it, if it stays.
        let _ = fs::remove_file(&staged.temporary);
        return Err(error);
    }
    staged.sync_directory()
}

/// Removes `path`; fine if it isn't there. When this returns, a power cut does not bring it back.
///
/// # Errors
/// Any I/O error.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(directory(path)?)?.sync_all(),
    }
}

/// Makes `dir` and its missing parents, and syncs the directory that each was made in: a file
/// synced inside a directory that itself is not on the medium would be lost with it.
pub(crate) fn make_directory(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = directory(dir)?;
    make_directory(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

fn directory(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(dir) => Ok(dir),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is in no directory", path.display()),
        )),
    }
}

/// A replacement under way: `create` and `write`, then one method per step above, in their order.
struct Staged<'a> {
    path: &'a Path,
    temporary: PathBuf,
    file: File,
}

impl<'a> Staged<'a> {
    fn create(path: &'a Path) -> io::Result<Self> {
        let dir = directory(path)?;
        let name = path.file_name().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} names no file", path.display()),
            )
        })?;
        make_directory(dir)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".new");
        let temporary = dir.join(hidden);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        Ok(Self {
            path,
            temporary,
            file,
        })
    }

    fn write(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        pieces.iter().try_for_each(|piece| self.file.write_all(piece))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn rename(&self) -> io::Result<()> {
        fs::rename(&self.temporary, self.path)
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(directory(self.path)?)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_cut_after_any_step_leaves_the_old_contents_or_the_new_ones() {
        for steps in 0..=4 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("state");
            replace(&path, b"old").unwrap();
            if steps >= 1 {
                let mut staged = Staged::create(&path).unwrap();
                staged.write(&[b"new, and longer"]).unwrap();
                if steps >= 2 {
                    staged.sync().unwrap();
                }
                if steps >= 3 {
                    staged.rename().unwrap();
                }
                if steps >= 4 {
                    staged.sync_directory().unwrap();
                }
            }
            let expected: &[u8] = if steps < 3 { b"old" } else { b"new, and longer" };
            assert_eq!(fs::read(&path).unwrap(), expected, "after {steps} steps");
            // What the cut left behind doesn't stand in the way of the next write.
            replace(&path, b"next").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"next");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    /// As on a disk that is full: what was written of it must not keep what others need.
    #[test]
    fn a_write_that_fails_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        fs::create_dir(&path).unwrap();
        replace(&path, b"a directory is there").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_torn_temporary_of_an_earlier_write_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".state.new"), b"a long torn remainder").unwrap();
        replace(&dir.path().join("state"), b"x").unwrap();
        assert_eq!(fs::read(dir.path().join("state")).unwrap(), b"x");
    }

    #[test]
    fn directories_are_made_and_the_file_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/state");
        replace(&path, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        remove(&path).unwrap();
        replace(&path, b"x").unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_and_not_a_loss() {
        let dir = tempfile::tempdir().unwrap();
        replace(&dir.path().join("file"), b"x").unwrap();
        assert!(replace(&dir.path().join("file/state"), b"y").is_err());
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"x");
    }
}
