//! The original engine's preferences, maintained beside our own state.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::unistd::AccessFlags;
use thiserror::Error;

use super::atomic;

/// Directory of preferences on a host.
pub const PREFS_DIR: &str = "/var/lib/update_engine/prefs";

/// Longest value read, in bytes: a full response may have a megabyte.
const MAX_VALUE: u64 = 1 << 20;

/// Key of a preference, which is the name of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// First version ever seen on this machine.
    AlephVersion,
    /// Time from which a failed payload may be tried again: Unix time in seconds, 0 for now.
    BackoffExpiryTime,
    /// Signature of the last offer: see [`crate::policy::PayloadState`].
    CurrentResponseSignature,
    /// Consecutive failures of the current URL.
    CurrentUrlFailureCount,
    /// Index of the offer's URL that is tried.
    CurrentUrlIndex,
    /// Failures since the last success, of deltas that had begun to download; those of the transfer
    /// don't count.
    DeltaUpdateFailures,
    /// The last answer to an update check, raw; postinst finds extensions in it.
    FullResponse,
    /// Length of header and manifest of a download that can be resumed; -1 for none.
    ManifestMetadataSize,
    /// Attempts at the current offer.
    PayloadAttemptNumber,
    /// The version that the last update replaced; emptied by the next check.
    PreviousVersion,
    /// Failures since the last success, of resumed attempts.
    ResumedUpdateFailures,
    /// Hash of the payload whose download can be resumed.
    UpdateCheckResponseHash,
    /// Resume state: payload offset; -1 for none.
    UpdateStateNextDataOffset,
    /// Resume state: operation; -1 for none.
    UpdateStateNextOperation,
    /// Resume state: hash of the payload so far.
    UpdateStateSha256Context,
    /// Resume state: the signature.
    UpdateStateSignatureBlob,
    /// Resume state: hash of what is signed so far.
    UpdateStateSignedSha256Context,
}

impl Key {
    /// The file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AlephVersion => "aleph-version",
            Self::BackoffExpiryTime => "backoff-expiry-time",
            Self::CurrentResponseSignature => "current-response-signature",
            Self::CurrentUrlFailureCount => "current-url-failure-count",
            Self::CurrentUrlIndex => "current-url-index",
            Self::DeltaUpdateFailures => "delta-update-failures",
            Self::FullResponse => "full-response",
            Self::ManifestMetadataSize => "manifest-metadata-size",
            Self::PayloadAttemptNumber => "payload-attempt-number",
            Self::PreviousVersion => "previous-version",
            Self::ResumedUpdateFailures => "resumed-update-failures",
            Self::UpdateCheckResponseHash => "update-check-response-hash",
            Self::UpdateStateNextDataOffset => "update-state-next-data-offset",
            Self::UpdateStateNextOperation => "update-state-next-operation",
            Self::UpdateStateSha256Context => "update-state-sha-256-context",
            Self::UpdateStateSignatureBlob => "update-state-signature-blob",
            Self::UpdateStateSignedSha256Context => "update-state-signed-sha-256-context",
        }
    }
}

/// Error of reading or writing a preference.
#[derive(Debug, Error)]
pub enum PrefsError {
    /// Reading failed.
    #[error("cannot read preference {path}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// Writing failed; the old value stands.
    #[error("cannot write preference {path}")]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// The directory can't be written.
    #[error("nothing can be kept in {path}: no update is asked for")]
    Directory {
        /// Path of the directory.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// The file is too long to be a preference.
    #[error("preference {0} is longer than {MAX_VALUE} bytes")]
    TooLong(PathBuf),
    /// A value that should be a number and isn't.
    #[error("preference {path} is no number: {value:?}")]
    NotANumber {
        /// Path of the file.
        path: PathBuf,
        /// The beginning of the file's contents, 64 characters at most.
        value: String,
    },
}

/// The server's last answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastAnswer {
    /// No check has brought one yet.
    None,
    /// It was an offer that was installed since.
    Installed,
    /// An answer that is still current.
    Known {
        /// Body as received.
        body: Vec<u8>,
        /// Time of its arrival, by the wall clock at that time.
        came: SystemTime,
    },
}

/// A directory of preferences. Holds nothing in memory: changes by other programs count at once.
#[derive(Debug, Clone)]
pub struct Prefs {
    dir: PathBuf,
}

impl Prefs {
    /// Preferences in `dir` (on a host: [`PREFS_DIR`]), which need not exist yet.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The value of `key`, if there is one; it may be empty. Bytes that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// [`PrefsError::Read`] or [`PrefsError::TooLong`].
    pub fn get(&self, key: Key) -> Result<Option<String>, PrefsError> {
        let value = self.read(key)?;
        Ok(value.map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The answer of the last check, as far as it still matters: an update that was installed since
    /// set `previous-version`, which the next check empties before it keeps its own answer.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn last_answer(&self) -> Result<LastAnswer, PrefsError> {
        let Some((body, came)) = self.read(Key::FullResponse)? else {
            return Ok(LastAnswer::None);
        };
        let installed = self
            .read(Key::PreviousVersion)?
            .is_some_and(|(version, written)| !version.is_empty() || written > came);
        Ok(if installed {
            LastAnswer::Installed
        } else {
            LastAnswer::Known { body, came }
        })
    }

    /// Contents of the file, and the time at which it was written.
    fn read(&self, key: Key) -> Result<Option<(Vec<u8>, SystemTime)>, PrefsError> {
        let path = self.path(key);
        let read = || {
            let file = File::open(&path)?;
            let written = file.metadata()?.modified()?;
            let mut bytes = Vec::new();
            file.take(MAX_VALUE + 1).read_to_end(&mut bytes)?;
            Ok((bytes, written))
        };
        match read() {
            Ok((bytes, _)) if bytes.len() as u64 > MAX_VALUE => Err(PrefsError::TooLong(path)),
            Ok(read) => Ok(Some(read)),
            Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PrefsError::Read { path, source }),
        }
    }

    /// The value of `key` as a number; white space around it is fine.
    ///
    /// # Errors
    /// As [`Self::get`], or [`PrefsError::NotANumber`].
    pub fn get_number(&self, key: Key) -> Result<Option<i64>, PrefsError> {
        let Some(value) = self.get(key)? else {
            return Ok(None);
        };
        value
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| PrefsError::NotANumber {
                path: self.path(key),
                value: value.chars().take(64).collect(),
            })
    }

    /// Makes the directory, and checks that it is writable; writes nothing.
    ///
    /// # Errors
    /// [`PrefsError::Directory`].
    pub fn require_writable(&self) -> Result<(), PrefsError> {
        let inside = self.dir.join(".");
        let access = AccessFlags::W_OK | AccessFlags::X_OK;
        let made = atomic::make_directory(&self.dir);
        let writable = made.and_then(|()| Ok(nix::unistd::access(&inside, access)?));
        writable.map_err(|source| PrefsError::Directory {
            path: self.dir.clone(),
            source,
        })
    }

    /// Remembers `value`, durably, in a file of mode 0600.
    ///
    /// # Errors
    /// [`PrefsError::Write`].
    pub fn set(&self, key: Key, value: &str) -> Result<(), PrefsError> {
        self.set_bytes(key, value.as_bytes())
    }

    /// Remembers a number.
    ///
    /// # Errors
    /// [`PrefsError::Write`].
    pub fn set_number(&self, key: Key, value: i64) -> Result<(), PrefsError> {
        self.set(key, &value.to_string())
    }

    /// Remembers the raw answer to an update check, never older than `previous-version`: postinst
    /// takes a response that is older for one of an earlier update, and the wall clock may have
    /// been set back between the two writes.
    ///
    /// # Errors
    /// [`PrefsError::Write`].
    pub fn set_full_response(&self, body: &[u8]) -> Result<(), PrefsError> {
        self.set_bytes(Key::FullResponse, body)?;
        let path = self.path(Key::FullResponse);
        not_older_than(&path, &self.path(Key::PreviousVersion))
            .map_err(|source| PrefsError::Write { path, source })
    }

    /// Corrects the times of an answer and of the file it is compared with, after the clock was
    /// set.
    ///
    /// # Errors
    /// [`PrefsError::Write`].
    pub fn correct_times(&self, corrected: impl Fn(SystemTime) -> SystemTime) -> Result<(), PrefsError> {
        for key in [Key::FullResponse, Key::PreviousVersion] {
            let path = self.path(key);
            correct_time(&path, &corrected).map_err(|source| PrefsError::Write { path, source })?;
        }
        Ok(())
    }

    /// Says in the original's words that there is no download to resume, so that it never continues
    /// on a slot that it did not prepare. Our own checkpoints are records.
    ///
    /// # Errors
    /// [`PrefsError::Write`].
    pub fn forbid_resume(&self) -> Result<(), PrefsError> {
        for key in [
            Key::UpdateStateNextOperation,
            Key::UpdateStateNextDataOffset,
            Key::ManifestMetadataSize,
        ] {
            self.set_number(key, -1)?;
        }
        for key in [
            Key::UpdateStateSha256Context,
            Key::UpdateStateSignedSha256Context,
            Key::UpdateStateSignatureBlob,
        ] {
            self.set(key, "")?;
        }
        Ok(())
    }

    fn set_bytes(&self, key: Key, value: &[u8]) -> Result<(), PrefsError> {
        let path = self.path(key);
        atomic::replace(&path, value).map_err(|source| PrefsError::Write { path, source })
    }

    fn path(&self, key: Key) -> PathBuf {
        self.dir.join(key.name())
    }
}

fn not_older_than(path: &Path, other: &Path) -> io::Result<()> {
    let other = match fs::metadata(other) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?.modified()?,
    };
    if fs::metadata(path)?.modified()? < other {
        File::options().write(true).open(path)?.set_modified(other)?;
    }
    Ok(())
}

fn correct_time(path: &Path, corrected: impl Fn(SystemTime) -> SystemTime) -> io::Result<()> {
    let was = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?.modified()?,
    };
    let is = corrected(was);
    if is != was {
        File::options().write(true).open(path)?.set_modified(is)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;
    use std::time::{Duration, SystemTime};

    fn prefs() -> (tempfile::TempDir, Prefs) {
        let dir = tempfile::tempdir().unwrap();
        let prefs = Prefs::new(dir.path().join("prefs"));
        (dir, prefs)
    }

    #[test]
    fn a_missing_value_is_none_and_an_empty_one_is_empty() {
        let (_dir, prefs) = prefs();
        assert_eq!(prefs.get(Key::PreviousVersion).unwrap(), None);
        prefs.set(Key::PreviousVersion, "").unwrap();
        assert_eq!(prefs.get(Key::PreviousVersion).unwrap().as_deref(), Some(""));
    }

    #[test]
    fn a_value_is_the_whole_file_and_nothing_else() {
        let (dir, prefs) = prefs();
        prefs.set_number(Key::PayloadAttemptNumber, 3).unwrap();
        let file = dir.path().join("prefs/payload-attempt-number");
        assert_eq!(fs::read(file).unwrap(), b"3");
        assert_eq!(prefs.get_number(Key::PayloadAttemptNumber).unwrap(), Some(3));
    }

    #[test]
    fn numbers_of_the_original_may_have_white_space_and_garbage_is_named() {
        let (dir, prefs) = prefs();
        prefs.set(Key::CurrentUrlIndex, " -7\n").unwrap();
        assert_eq!(prefs.get_number(Key::CurrentUrlIndex).unwrap(), Some(-7));
        prefs.set(Key::CurrentUrlIndex, "seven").unwrap();
        let error = prefs.get_number(Key::CurrentUrlIndex).unwrap_err().to_string();
        let path = dir.path().join("prefs/current-url-index");
        assert_eq!(
            error,
            format!("preference {} is no number: \"seven\"", path.display())
        );
    }

    #[test]
    fn the_last_answer_is_known_until_an_update_is_installed_whatever_the_clock_does() {
        let (dir, prefs) = prefs();
        assert_eq!(prefs.last_answer().unwrap(), LastAnswer::None);
        let came = SystemTime::now();
        let set = |name: &str, time| {
            let file = File::options()
                .write(true)
                .open(dir.path().join("prefs").join(name));
            file.unwrap().set_modified(time).unwrap();
        };
        prefs.set(Key::PreviousVersion, "").unwrap();
        prefs.set_full_response(b"<response/>").unwrap();
        set("full-response", came);
        set("previous-version", came);
        let known = prefs.last_answer().unwrap();
        assert!(
            matches!(&known, LastAnswer::Known { body, came: at } if body == b"<response/>" && *at == came)
        );
        // The clock was set back before the installation.
        prefs.set(Key::PreviousVersion, "1.0.0").unwrap();
        set("previous-version", came - Duration::from_secs(3600));
        assert_eq!(prefs.last_answer().unwrap(), LastAnswer::Installed);
        // The news was told, and no check has brought an answer since.
        prefs.set(Key::PreviousVersion, "").unwrap();
        set("previous-version", came + Duration::from_secs(1));
        assert_eq!(prefs.last_answer().unwrap(), LastAnswer::Installed);
    }

    #[test]
    fn a_value_of_absurd_length_is_refused_unread() {
        let (dir, prefs) = prefs();
        prefs.set(Key::AlephVersion, "1").unwrap();
        let file = File::options()
            .write(true)
            .open(dir.path().join("prefs/aleph-version"))
            .unwrap();
        file.set_len(MAX_VALUE + 1).unwrap();
        assert!(matches!(
            prefs.get(Key::AlephVersion),
            Err(PrefsError::TooLong(_))
        ));
    }

    #[test]
    fn the_full_response_is_never_older_than_the_previous_version() {
        let (dir, prefs) = prefs();
        prefs.set(Key::PreviousVersion, "").unwrap();
        let previous = dir.path().join("prefs/previous-version");
        let later = SystemTime::now() + Duration::from_secs(3600);
        let file = File::options().write(true).open(&previous).unwrap();
        file.set_modified(later).unwrap();
        prefs.set_full_response(b"<response/>").unwrap();
        let response = dir.path().join("prefs/full-response");
        assert_eq!(
            fs::metadata(response).unwrap().modified().unwrap(),
            fs::metadata(previous).unwrap().modified().unwrap()
        );
    }

    #[test]
    fn no_resume_is_told_as_the_original_leaves_it_after_a_success() {
        let (dir, prefs) = prefs();
        prefs.forbid_resume().unwrap();
        for (name, contents) in [
            ("manifest-metadata-size", "-1"),
            ("update-state-next-data-offset", "-1"),
            ("update-state-next-operation", "-1"),
            ("update-state-sha-256-context", ""),
            ("update-state-signed-sha-256-context", ""),
            ("update-state-signature-blob", ""),
        ] {
            assert_eq!(
                fs::read_to_string(dir.path().join("prefs").join(name)).unwrap(),
                contents,
                "{name}"
            );
        }
    }
}
