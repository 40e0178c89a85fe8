//! Checksummed records of our own state: whole, of the expected version, and as written, or not
//! used at all.
//!
//! ```text
//!  offset  length  what (integers big endian)
//!  0       8       "UpdEngSt"
//!  8       4       version of the contents, the caller's
//!  12      8       length n of the contents
//!  20      n       contents
//!  20 + n  32      SHA-256 of everything before
//! ```
//!
//! Written by [`atomic`], so a torn record can only come from the medium or from somebody else. A
//! reader that gets an error starts from nothing; the daemon never trusts half a record.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use ring::digest::{Context, SHA256, digest};
use thiserror::Error;

use super::atomic;

const MAGIC: &[u8; 8] = b"UpdEngSt";
const HEADER: usize = 20;
const CHECKSUM: usize = 32;

/// Longest contents, in bytes: a manifest kept with a checkpoint must fit.
pub const MAX_CONTENTS: usize = 64 << 20;

/// Version of a record's contents. Readers know one; any other is an error, not a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub u32);

/// Error of reading or writing a record.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Reading failed.
    #[error("cannot read record {path}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// Writing failed; the old record stands.
    #[error("cannot write record {path}")]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// Too long to be written, or to be read.
    #[error("record {path} has {length} bytes of contents or more, at most {most} are taken")]
    TooLong {
        /// Path of the file.
        path: PathBuf,
        /// Length of the contents, as far as they were read, in bytes.
        length: u64,
        /// Limit, in bytes.
        most: usize,
    },
    /// Not a record at all.
    #[error("{0} is no record")]
    NotARecord(PathBuf),
    /// The file is shorter or longer than its header says.
    #[error("record {path} has {actual} bytes where its header promises {promised}")]
    Length {
        /// Path of the file.
        path: PathBuf,
        /// Length by the header, in bytes.
        promised: u64,
        /// Length of the file, in bytes.
        actual: u64,
    },
    /// The checksum is wrong.
    #[error("record {0} is damaged: its checksum does not match")]
    Checksum(PathBuf),
    /// The contents have another version.
    #[error("record {path} has version {found}, not {expected}")]
    Version {
        /// Path of the file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Version that this program reads and writes.
        expected: u32,
    },
}

impl RecordError {
    /// Whether descriptors or memory were short: a moment later it may work.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => is_passing(source),
            _ => false,
        }
    }
}

/// Whether descriptors or memory were short: a moment later the same call may work.
#[must_use]
pub fn is_passing(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EINTR)
    )
}

/// Replaces the record at `path`, durably, in a file of mode 0600.
///
/// # Errors
/// [`RecordError::Write`] or [`RecordError::TooLong`]; the old record then stands.
pub fn save(path: &Path, version: Version, contents: &[u8]) -> Result<(), RecordError> {
    let length = contents.len() as u64;
    if contents.len() > MAX_CONTENTS {
        return Err(RecordError::TooLong {
            path: path.to_owned(),
            length,
            most: MAX_CONTENTS,
        });
    }
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&version.0.to_be_bytes());
    header.extend_from_slice(&length.to_be_bytes());
    let mut checksum = Context::new(&SHA256);
    checksum.update(&header);
    checksum.update(contents);
    let checksum = checksum.finish();
    atomic::replace_by(path, &[&header, contents, checksum.as_ref()]).map_err(|source| RecordError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Reads the record at `path`; nothing if there is none.
///
/// # Errors
/// Any [`RecordError`] but `Write`: the contents are whole and of `version`, or this is an error.
pub fn load(path: &Path, version: Version) -> Result<Option<Vec<u8>>, RecordError> {
    load_short(path, version, MAX_CONTENTS)
}

/// Like [`load`], for a record that never has more than `most` bytes of contents.
///
/// # Errors
/// Likewise.
pub fn load_short(path: &Path, version: Version, most: usize) -> Result<Option<Vec<u8>>, RecordError> {
    let Some(mut bytes) = read(path, most)? else {
        return Ok(None);
    };
    let found = check(path, &bytes)?;
    if found != version.0 {
        return Err(RecordError::Version {
            path: path.to_owned(),
            found,
            expected: version.0,
        });
    }
    bytes.truncate(bytes.len() - CHECKSUM);
    bytes.drain(..HEADER);
    Ok(Some(bytes))
}

/// Removes the record at `path`, if there is one, durably.
///
/// # Errors
/// [`RecordError::Write`].
pub fn remove(path: &Path) -> Result<(), RecordError> {
    atomic::remove(path).map_err(|source| RecordError::Write {
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path, most: usize) -> Result<Option<Vec<u8>>, RecordError> {
    let most = most.min(MAX_CONTENTS);
    let limit = (HEADER + most + CHECKSUM) as u64;
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 > limit => Err(RecordError::TooLong {
            path: path.to_owned(),
            length: bytes.len() as u64 - (HEADER + CHECKSUM) as u64,
            most,
        }),
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RecordError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Checks everything but the version, which it gives.
fn check(path: &Path, bytes: &[u8]) -> Result<u32, RecordError> {
    let not_a_record = || RecordError::NotARecord(path.to_owned());
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(not_a_record)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(not_a_record)?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(not_a_record)?;
    let promised = u64::from_be_bytes(*length).saturating_add(CHECKSUM as u64);
    let actual = rest.len() as u64;
    if promised != actual {
        return Err(RecordError::Length {
            path: path.to_owned(),
            promised,
            actual,
        });
    }
    let (checked, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    if digest(&SHA256, checked).as_ref() != checksum {
        return Err(RecordError::Checksum(path.to_owned()));
    }
    Ok(u32::from_be_bytes(*version))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;
    use std::fs;

    const V1: Version = Version(1);

    #[test]
    fn want_of_descriptors_or_memory_passes_and_nothing_else() {
        let error = |errno: Errno| RecordError::Read {
            path: "history".into(),
            source: errno.into(),
        };
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EINTR] {
            assert!(error(errno).is_passing(), "{errno}");
        }
        for errno in [Errno::EIO, Errno::EACCES, Errno::EISDIR] {
            assert!(!error(errno).is_passing(), "{errno}");
        }
        assert!(!RecordError::NotARecord("history".into()).is_passing());
    }

    #[test]
    fn what_was_saved_is_loaded_and_what_was_removed_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        assert_eq!(load(&path, V1).unwrap(), None);
        let long = vec![0xa5; 70_000];
        for contents in [&b""[..], b"some state", &long] {
            save(&path, V1, contents).unwrap();
            assert_eq!(load(&path, V1).unwrap().as_deref(), Some(contents));
        }
        remove(&path).unwrap();
        assert_eq!(load(&path, V1).unwrap(), None);
    }

    #[test]
    fn a_record_of_another_version_is_refused_by_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        save(&path, V1, b"x").unwrap();
        let error = load(&path, Version(2)).unwrap_err().to_string();
        assert!(error.ends_with("has version 1, not 2"), "{error}");
    }

    #[test]
    fn a_record_cut_anywhere_or_changed_anywhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        save(&path, V1, b"some state").unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(load(&path, V1).is_err(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            fs::write(&path, &changed).unwrap();
            assert!(load(&path, V1).is_err(), "changed at {at}");
        }
        let mut longer = whole;
        longer.push(0);
        fs::write(&path, &longer).unwrap();
        assert!(matches!(load(&path, V1), Err(RecordError::Length { .. })));
    }

    #[test]
    fn contents_beyond_the_limit_are_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        save(&path, V1, b"old").unwrap();
        assert!(matches!(
            save(&path, V1, &vec![0; MAX_CONTENTS + 1]),
            Err(RecordError::TooLong { .. })
        ));
        assert_eq!(load(&path, V1).unwrap().unwrap(), b"old");
    }
}
