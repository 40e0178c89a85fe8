//! Release of an image or of the running system.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::KeyValues;
use crate::host::Host;

/// Error of reading a release.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Its file can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// A version that could not stand in a file's name.
    #[error("{} has VERSION={version:?}, which makes no file name", path.display())]
    Version {
        /// Path of the file.
        path: PathBuf,
        /// The version found.
        version: String,
    },
}

/// Contents of `os-release`.
#[derive(Debug, Clone)]
pub(super) struct Release {
    /// `VERSION`, or `VERSION_ID` where that is missing: a part of file names.
    pub(super) version: String,
    /// `FLATCAR_BOARD`, such as `amd64-usr`; empty if unknown.
    pub(super) board: String,
    /// The file itself.
    pub(super) text: String,
}

impl Release {
    /// The release in the image mounted at `image`.
    pub(super) fn of_image(image: &Path) -> Result<Self, ReleaseError> {
        Self::read(image.join("lib/os-release"))
    }

    /// The release that runs.
    pub(super) fn running(host: &Host) -> Result<Self, ReleaseError> {
        Self::read(host.path("/usr/lib/os-release"))
    }

    fn read(path: PathBuf) -> Result<Self, ReleaseError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ReleaseError::Read { path, source }),
        };
        let values = KeyValues::parse(&text);
        let value = |key| values.get(key).unwrap_or_default().to_owned();
        let version = Some(value("VERSION")).filter(|version| !version.is_empty());
        let version = version.unwrap_or_else(|| value("VERSION_ID"));
        let fits = |c: char| !c.is_control() && c != '/';
        if version.is_empty() || version.starts_with('.') || !version.chars().all(fits) {
            return Err(ReleaseError::Version { path, version });
        }
        Ok(Self {
            version,
            board: value("FLATCAR_BOARD"),
            text,
        })
    }
}
