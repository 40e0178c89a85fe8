//! The owner file of a version's directory: it says that the directory is ours and which slots its
//! extensions belong to.
//!
//! ```text
//!  USR-A                    one slot: its name, and nothing else
//!  USR-A ⏎ USR-B ⏎ FF       both: their names, and a byte that is no text
//! ```
//!
//! Versions that knew one slot only compare the whole file with its name. They leave alone what
//! they can't read as text, so that of a directory of both slots neither loses its own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::store::atomic;

/// Name of the owner file.
pub(super) const MARK: &str = ".update-engine";
const NO_TEXT: &[u8] = &[0xff];
/// Longest owner file, in bytes; two names have less.
const LONGEST: u64 = 1 << 10;

/// The slots that a directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owners(BTreeSet<String>);

impl Owners {
    /// `slot` alone.
    pub(super) fn one(slot: &str) -> Self {
        Self(BTreeSet::from([slot.to_owned()]))
    }

    /// The owners of `directory`.
    ///
    /// # Errors
    /// If there is no owner file, or it can't be read or isn't one.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let file = File::open(directory.join(MARK))?;
        file.take(LONGEST + 1).read_to_end(&mut bytes)?;
        let is_none = || io::Error::from(io::ErrorKind::InvalidData);
        if bytes.len() as u64 > LONGEST {
            return Err(is_none());
        }
        let names = bytes.split(|byte| *byte == b'\n').filter(|name| *name != NO_TEXT);
        let names = names.map(|name| String::from_utf8(name.to_vec()).map_err(|_| is_none()));
        names.collect::<io::Result<_>>().map(Self)
    }

    /// Makes them the owners of `directory`, durably. A cut leaves the old mark or the new one.
    ///
    /// # Errors
    /// If the mark can't be replaced.
    pub(super) fn mark(&self, directory: &Path) -> io::Result<()> {
        let mut names: Vec<&[u8]> = self.0.iter().map(String::as_bytes).collect();
        if names.len() > 1 {
            names.push(NO_TEXT);
        }
        atomic::replace(&path(directory), &names.join(&b'\n'))
    }

    pub(super) fn contains(&self, slot: &str) -> bool {
        self.0.contains(slot)
    }

    /// The owners of both.
    #[must_use]
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// Path of the owner file of `directory`.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(MARK)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn both() -> Owners {
        Owners::one("USR-A").and(Owners::one("USR-B"))
    }

    #[test]
    fn owners_are_read_as_they_were_marked_and_one_is_marked_as_ever() {
        let directory = tempfile::tempdir().unwrap();
        for owners in [Owners::one("USR-B"), both(), Owners::one("USR-A")] {
            owners.mark(directory.path()).unwrap();
            assert_eq!(Owners::of(directory.path()).unwrap(), owners);
        }
        assert_eq!(fs::read(path(directory.path())).unwrap(), b"USR-A");
    }

    /// It reads the file as text, compares it with the running slot's name, and takes what it can't
    /// read for its own.
    #[test]
    fn the_version_before_leaves_a_directory_of_both_alone() {
        let directory = tempfile::tempdir().unwrap();
        both().mark(directory.path()).unwrap();
        let read = fs::read_to_string(path(directory.path()));
        assert!(read.map_or(true, |slot| slot == "USR-A"));
    }

    #[test]
    fn what_is_no_mark_is_an_error_and_an_empty_one_is_nobodys() {
        let directory = tempfile::tempdir().unwrap();
        for (bytes, is_mark) in [(&b""[..], true), (b"USR-\xffA", false), (&[b'x'; 2000], false)] {
            fs::write(path(directory.path()), bytes).unwrap();
            let owners = Owners::of(directory.path());
            assert_eq!(owners.is_ok(), is_mark, "{owners:?}");
            assert!(owners.map_or(true, |owners| !owners.contains("USR-A")));
        }
    }
}
