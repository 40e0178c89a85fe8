//! Catalog of the server: one update, its payload, and the packages beside it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use payload_format::Sha256Digest;
use ring::digest;

use super::ServeError;
use crate::payload::{PayloadError, PayloadFile, PayloadMetadata};

/// The last part of a package's URL: letters, digits, `.`, `_` and `-`, so that it needs no
/// escaping in a URL, in XML or in a log, and can't name another directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackageName(String);

impl PackageName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageName {
    type Err = ServeError;

    fn from_str(name: &str) -> Result<Self, ServeError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(ServeError::Name {
                name: name.to_owned(),
            });
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file offered for download, with what the offer says about it. The file is hashed once, when it
/// enters the catalog: if its bytes change afterwards, nodes notice and refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedPackage {
    /// Last part of its URL.
    pub name: PackageName,
    /// Path of the file.
    pub path: PathBuf,
    /// Length in bytes, above 0.
    pub len: u64,
    /// SHA-1: a field that Omaha's dialect requires and nobody trusts.
    pub sha1: [u8; 20],
    /// SHA-256, which nodes check.
    pub sha256: Sha256Digest,
}

impl ServedPackage {
    fn open(name: PackageName, path: &Path) -> Result<Self, ServeError> {
        let (len, sha1, sha256) = sums(path).map_err(|source| ServeError::Read {
            path: path.into(),
            source,
        })?;
        if len == 0 {
            return Err(ServeError::Empty { path: path.into() });
        }
        Ok(Self {
            name,
            path: path.into(),
            len,
            sha1,
            sha256,
        })
    }

    /// The strong entity tag under which these bytes are served.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.sha256)
    }
}

/// Nodes to which the update is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Nodes whose version is another one: newer or older, so that a site can also go back.
    OtherVersions,
    /// Every node that asks, also one that runs this version already.
    Everyone,
}

/// One update and how it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    version: String,
    payload: ServedPackage,
    is_delta: bool,
    extras: Vec<ServedPackage>,
    audience: Audience,
    pace: Option<NonZeroU64>,
}

impl Catalog {
    /// Offers `payload`, under its file's name, as `version` to [`Audience::OtherVersions`]. Reads
    /// the whole file: not for asynchronous code.
    ///
    /// # Errors
    /// [`ServeError::Read`], [`ServeError::Empty`], or [`ServeError::Name`] if the file's name
    /// can't stand in a URL.
    pub fn open(version: impl Into<String>, payload: &Path) -> Result<Self, ServeError> {
        let name = payload.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            version: version.into(),
            payload: ServedPackage::open(name.parse()?, payload)?,
            // Whatever is no payload is served all the same: that nodes refuse it is what tests
            // want to see.
            is_delta: metadata(payload).is_ok_and(|metadata| metadata.manifest.is_delta()),
            extras: Vec::new(),
            audience: Audience::OtherVersions,
            pace: None,
        })
    }

    /// Adds a package beside the payload, as Flatcar does for system extensions. Reads the whole
    /// file.
    ///
    /// # Errors
    /// As [`Self::open`], and [`ServeError::Duplicate`].
    pub fn with_package(mut self, name: PackageName, path: &Path) -> Result<Self, ServeError> {
        if self.find(name.as_str()).is_some() {
            return Err(ServeError::Duplicate { name });
        }
        self.extras.push(ServedPackage::open(name, path)?);
        Ok(self)
    }

    /// Sets the nodes to which the update is offered.
    #[must_use]
    pub fn for_audience(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
    }

    /// Sends at most so many bytes per second on each connection.
    #[must_use]
    pub fn with_pace(mut self, bytes_per_second: NonZeroU64) -> Self {
        self.pace = Some(bytes_per_second);
        self
    }

    /// The version offered.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The update itself.
    #[must_use]
    pub fn payload(&self) -> &ServedPackage {
        &self.payload
    }

    /// Whether the payload says that it is built from the image that a node runs.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        self.is_delta
    }

    /// Packages beside the payload.
    #[must_use]
    pub fn extras(&self) -> &[ServedPackage] {
        &self.extras
    }

    /// Bytes per second on each connection, if limited.
    #[must_use]
    pub fn pace(&self) -> Option<NonZeroU64> {
        self.pace
    }

    /// The package called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&ServedPackage> {
        std::iter::once(&self.payload)
            .chain(&self.extras)
            .find(|package| package.name.as_str() == name)
    }

    /// Whether the update is offered to a node that runs `version`.
    #[must_use]
    pub fn is_for(&self, version: &str) -> bool {
        self.audience == Audience::Everyone || self.version != version
    }
}

fn metadata(payload: &Path) -> Result<PayloadMetadata, PayloadError> {
    PayloadFile::open(payload)?.metadata()
}

/// Length, SHA-1 and SHA-256 of a file.
fn sums(path: &Path) -> io::Result<(u64, [u8; 20], Sha256Digest)> {
    let mut file = File::open(path)?;
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let (mut len, mut buffer) = (0_u64, vec![0; 256 << 10]);
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        sha1.update(&buffer[..n]);
        sha256.update(&buffer[..n]);
        len += n as u64;
    }
    Ok((
        len,
        fixed(&sha1.finish()),
        Sha256Digest::from(fixed(&sha256.finish())),
    ))
}

fn fixed<const N: usize>(digest: &digest::Digest) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}
