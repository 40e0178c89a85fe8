//! Download of one extension: fetched, verified like any payload, and built from it.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use payload_format::{ImageKind, Sha256Digest};
use ring::digest::{Context, SHA256};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use crate::fetch::{FetchError, FetchRequest, Fetcher};
use crate::host::free_bytes;
use crate::net::redact_url;
use crate::payload::{ApplicationError, Building, PayloadError, PayloadFile, Trust, TrustError, apply};
use crate::plan::Credentials;

/// Largest extension downloaded without an offer that says its size, in bytes.
const MAX_UNANNOUNCED: u64 = 4 << 30;

/// Bytes that stay free on the file system of extensions. Records, preferences and checkpoints are
/// often on the same one, and a slot must not become unbootable that can't be committed to.
const KEPT_FREE: u64 = 1 << 20;

/// Error of an extension.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// The server doesn't deliver it.
    #[error("cannot download {url}")]
    Fetch {
        /// URL of the request, without user, password and query.
        url: String,
        /// The underlying error.
        source: FetchError,
    },
    /// The server gives no size, or an absurd one.
    #[error("{url} is of unknown size, or larger than {MAX_UNANNOUNCED} bytes")]
    Size {
        /// URL of the request, without user, password and query.
        url: String,
    },
    /// The file is not the one offered.
    #[error("{url} has SHA-256 {found}, offered was {expected}")]
    Hash {
        /// URL of the request, without user, password and query.
        url: String,
        /// Hash as offered.
        expected: Sha256Digest,
        /// Hash of the bytes received.
        found: Sha256Digest,
    },
    /// The file is no payload or another one, and came in an encoding that was not requested.
    #[error(
        "{url} came in Content-Encoding {encoding:?}, which was not asked for: its server, or a proxy before it, must send it as it is"
    )]
    Encoded {
        /// URL of the request, without user, password and query.
        url: String,
        /// Value of the header, at most 60 characters.
        encoding: String,
        /// Error of the bytes as received.
        source: Box<ExtensionError>,
    },
    /// There is no trusted key.
    #[error("no key to check it with")]
    Key(#[from] TrustError),
    /// The file is no payload.
    #[error("it is no payload")]
    Payload(#[from] PayloadError),
    /// The payload has no trusted signature, is damaged, or doesn't fit.
    #[error("it can't be put at {}", path.display())]
    Apply {
        /// Path at which the extension should be.
        path: PathBuf,
        /// The underlying error, boxed to keep this type small.
        source: Box<ApplicationError>,
    },
    /// There is not enough free space.
    #[error("{} has {available} free bytes, it needs {needed}", path.display())]
    Full {
        /// Path of the directory.
        path: PathBuf,
        /// Free space, in bytes.
        available: u64,
        /// Space needed, in bytes.
        needed: u64,
    },
    /// The download can't be written.
    #[error("cannot write below {}", path.display())]
    Keep {
        /// Path of the directory.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// Neither the update server nor the file servers have it.
    #[error("the server doesn't offer it, and the image doesn't say its board")]
    Nowhere,
}

impl ExtensionError {
    /// Whether another origin may deliver what this one doesn't.
    const fn is_about_origin(&self) -> bool {
        matches!(
            self,
            Self::Fetch { .. } | Self::Size { .. } | Self::Hash { .. } | Self::Encoded { .. }
        )
    }
}

/// Origin of an extension: URL, size and hash.
#[derive(Debug, Clone)]
pub struct PackageOrigin {
    /// An http or https URL.
    pub url: String,
    /// Size in bytes, if offered.
    pub size: Option<u64>,
    /// SHA-256 of the package, if offered.
    pub sha256: Option<Sha256Digest>,
    /// Credentials for its server.
    pub credentials: Option<Credentials>,
}

impl PackageOrigin {
    /// The URL without user, password and query.
    #[must_use]
    pub fn shown(&self) -> String {
        redact_url(&self.url)
    }
}

/// A package that was received whole and whose signature is not checked yet. Removed when dropped.
#[derive(Debug)]
pub struct DownloadedPackage {
    spool: NamedTempFile,
    place: PathBuf,
    /// URL of the request, without user, password and query.
    url: String,
    /// The `Content-Encoding` that it came in.
    encoding: Option<String>,
}

/// Downloads the same package from the first of `origins` that delivers it; see [`download`]. After
/// any failure (no answer, any status, another size or hash) the next one is asked for the whole.
///
/// # Errors
/// The error of the last origin; at once, if this node can't write the package.
pub async fn download_from_any(
    fetcher: &Fetcher,
    origins: &[PackageOrigin],
    place: &Path,
) -> Result<DownloadedPackage, ExtensionError> {
    let mut failure = ExtensionError::Nowhere;
    for origin in origins {
        match download(fetcher, origin, place).await {
            Err(error) if error.is_about_origin() => {
                tracing::warn!(error = &error as &dyn Error, "no package from {}", origin.shown());
                failure = error;
            }
            result => return result,
        }
    }
    Err(failure)
}

/// Downloads the package at `origin` to a file without a lasting name in the directory `place`,
/// which is made.
///
/// # Errors
/// If it doesn't arrive, is not the one offered, or can't be written.
pub async fn download(
    fetcher: &Fetcher,
    origin: &PackageOrigin,
    place: &Path,
) -> Result<DownloadedPackage, ExtensionError> {
    let keep = |source| ExtensionError::Keep {
        path: place.to_owned(),
        source,
    };
    fs::create_dir_all(place).map_err(keep)?;
    let mut spool = tempfile::Builder::new()
        .prefix(".unverified-")
        .tempfile_in(place)
        .map_err(keep)?;
    let size = size(fetcher, origin).await?;
    require_room(place, size)?;
    let request = FetchRequest {
        url: origin.url.clone(),
        // Each origin gives the whole package or none of it.
        fallbacks: Vec::new(),
        start: 0,
        entity: None,
        size,
        credentials: origin.credentials.clone(),
    };
    let failed = |source| unfetched(origin, source);
    reserve(spool.as_file(), place, size)?;
    let (mut stream, mut sha256) = (
        fetcher.open(request).await.map_err(failed)?,
        Context::new(&SHA256),
    );
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(failed)?;
        sha256.update(&bytes);
        spool.as_file_mut().write_all(&bytes).map_err(keep)?;
    }
    let package = DownloadedPackage {
        spool,
        place: place.to_owned(),
        url: origin.shown(),
        encoding: stream.encoding().get(),
    };
    compare(origin, sha256).map_err(|error| package.explain(error))?;
    Ok(package)
}

impl DownloadedPackage {
    /// Writes the image in it to the file `name` beside it. Nothing appears there before a
    /// signature by one of `keys` is confirmed and the image is complete and durable.
    ///
    /// # Errors
    /// If no key confirms a signature, it holds no image, or the image doesn't fit.
    pub fn build(self, keys: &Trust, name: &str) -> Result<(), ExtensionError> {
        let metadata = |payload: &PayloadFile| payload.metadata().map_err(|error| self.explain(error.into()));
        let payload = PayloadFile::open(self.spool.path()).map_err(|error| self.explain(error.into()))?;
        let kind = ImageKind::Slot;
        if let Some(image) = metadata(&payload)?.manifest.image(kind) {
            require_room(&self.place, image.new.size)?;
        }
        let target = self.place.join(name);
        let image = Building {
            kind,
            target: target.clone(),
            source: None,
        };
        match apply(&payload, &[image], keys) {
            Ok(_) => Ok(()),
            Err(error) => Err(ExtensionError::Apply {
                path: target,
                source: Box::new(error),
            }),
        }
    }
}

impl DownloadedPackage {
    /// Names the encoding as the cause of wrong bytes.
    fn explain(&self, error: ExtensionError) -> ExtensionError {
        match &self.encoding {
            Some(encoding) => ExtensionError::Encoded {
                url: self.url.clone(),
                encoding: encoding.clone(),
                source: Box::new(error),
            },
            None => error,
        }
    }
}

/// Reserves space for the `size` bytes that are still to come.
fn reserve(spool: &File, place: &Path, size: u64) -> Result<(), ExtensionError> {
    match fallocate(spool, FallocateFlags::KEEP_SIZE, 0, size) {
        // Not every file system can.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(Errno::NOSPC) => require_room(place, size),
        Err(errno) => Err(ExtensionError::Keep {
            path: place.to_owned(),
            source: errno.into(),
        }),
    }
}

/// Requires `needed` bytes of free space in the directory `place`, beside those that stay free.
///
/// # Errors
/// [`ExtensionError::Full`], or if the file system can't be asked.
pub fn require_room(place: &Path, needed: u64) -> Result<(), ExtensionError> {
    let (path, needed) = (place.to_owned(), needed.saturating_add(KEPT_FREE));
    match free_bytes(place) {
        Ok(available) if available >= needed => Ok(()),
        Ok(available) => Err(ExtensionError::Full {
            path,
            available,
            needed,
        }),
        Err(source) => Err(ExtensionError::Keep { path, source }),
    }
}

async fn size(fetcher: &Fetcher, origin: &PackageOrigin) -> Result<u64, ExtensionError> {
    if let Some(size) = origin.size {
        return Ok(size);
    }
    let size = fetcher.size(&origin.url).await;
    let size = size.map_err(|source| unfetched(origin, source))?;
    size.filter(|size| *size <= MAX_UNANNOUNCED)
        .ok_or_else(|| unknown_size(origin))
}

fn compare(origin: &PackageOrigin, sha256: Context) -> Result<(), ExtensionError> {
    let mut found = [0; 32];
    found.copy_from_slice(sha256.finish().as_ref());
    let found = Sha256Digest::from(found);
    match origin.sha256 {
        Some(expected) if expected != found => Err(ExtensionError::Hash {
            url: origin.shown(),
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

fn unknown_size(origin: &PackageOrigin) -> ExtensionError {
    ExtensionError::Size { url: origin.shown() }
}

fn unfetched(origin: &PackageOrigin, source: FetchError) -> ExtensionError {
    ExtensionError::Fetch {
        url: origin.shown(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_package_holds_no_secret_of_its_url() {
        let origin = PackageOrigin {
            url: "https://me:secret@host/x.gz?sig=secret".to_owned(),
            size: None,
            sha256: Some(Sha256Digest::from([0; 32])),
            credentials: None,
        };
        let fetch = FetchError::StartPastEnd { start: 1, size: 0 };
        let hash = compare(&origin, Context::new(&SHA256)).err();
        for error in [Some(unfetched(&origin, fetch)), hash, Some(unknown_size(&origin))] {
            let told = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(
                told.contains("https://host/x.gz…") && !told.contains("secret"),
                "{told}"
            );
        }
    }
}
