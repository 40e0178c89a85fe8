//! Which version an image or the running system is.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::KeyValues;
use crate::host::Host;

/// Why a system doesn't say which version it is.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Its file can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A version that could not stand in a file's name.
    #[error("{} has VERSION={version:?}, which makes no file name", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        version: String,
    },
}

/// What `os-release` says.
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
