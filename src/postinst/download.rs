//! One extension: downloaded, verified like any payload, and put in place under its name.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use payload_format::ImageKind;
use tempfile::NamedTempFile;

use crate::fetch::{FetchError, FetchRequest, FetchSettings, Fetcher};
use crate::host::Host;
use crate::payload::{ApplicationError, Building, PayloadError, PayloadFile, Trust, TrustError, apply};

const KEY: &str = "/usr/share/update_engine/update-payload-key.pub.pem";

/// Largest extension downloaded without an offer that says its size, in bytes.
const MAX_UNANNOUNCED: u64 = 4 << 30;

/// Why an extension isn't there.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Its server doesn't give it.
    #[error("cannot download {url}")]
    Fetch {
        /// From where.
        url: String,
        /// Why not.
        source: FetchError,
    },
    /// Its server doesn't say how large it is, or an absurd size.
    #[error("{url} is of unknown size, or larger than {MAX_UNANNOUNCED} bytes")]
    Size {
        /// From where.
        url: String,
    },
    /// No key to check it with.
    #[error("no key to check it with")]
    Key(#[from] TrustError),
    /// It is no payload.
    #[error("it is no payload")]
    Payload(#[from] PayloadError),
    /// It is by nobody trusted, damaged, or doesn't fit.
    #[error("it can't be put at {}", path.display())]
    Apply {
        /// Where it should be.
        path: PathBuf,
        /// Why it isn't.
        source: ApplicationError,
    },
    /// The download can't be kept.
    #[error("cannot write below {}", path.display())]
    Keep {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Neither the server nor the release's site has it.
    #[error("the server doesn't offer it, and the image doesn't say its board")]
    Nowhere,
}

/// Where an extension can be had.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) url: String,
    /// Bytes, if somebody offered them.
    pub(super) size: Option<u64>,
}

/// Downloads the payload at `origin` and makes the image in it the file `name` in the first of `places` that
/// has room. Nothing appears there before it is verified and complete.
pub(super) async fn install(
    host: &Host,
    origin: &Origin,
    places: &[PathBuf],
    name: &str,
) -> Result<(), DownloadError> {
    let keys = Trust::Keys(Trust::in_keys(&[host.path(KEY)])?);
    let mut failure = DownloadError::Nowhere;
    for place in places {
        match install_in(place, origin, &keys, name).await {
            Err(error @ (DownloadError::Keep { .. } | DownloadError::Apply { .. })) => failure = error,
            result => return result,
        }
    }
    Err(failure)
}

async fn install_in(place: &Path, origin: &Origin, keys: &Trust, name: &str) -> Result<(), DownloadError> {
    let keep = |source| DownloadError::Keep {
        path: place.to_owned(),
        source,
    };
    fs::create_dir_all(place).map_err(keep)?;
    let mut spool = tempfile::Builder::new()
        .prefix(".unverified-")
        .tempfile_in(place)
        .map_err(keep)?;
    download(origin, &mut spool, place).await?;
    let payload = PayloadFile::open(spool.path())?;
    let path = place.join(name);
    let image = Building {
        kind: ImageKind::Partition,
        target: path.clone(),
        source: None,
    };
    match apply(&payload, &[image], keys) {
        Ok(_) => Ok(()),
        Err(source) => Err(DownloadError::Apply { path, source }),
    }
}

async fn download(origin: &Origin, spool: &mut NamedTempFile, place: &Path) -> Result<(), DownloadError> {
    let url = &origin.url;
    let failed = |source| DownloadError::Fetch {
        url: url.clone(),
        source,
    };
    let keep = |source| DownloadError::Keep {
        path: place.to_owned(),
        source,
    };
    let fetcher = Fetcher::new(FetchSettings::default());
    let size = match origin.size {
        Some(size) => Some(size),
        None => fetcher.size(url).await.map_err(failed)?,
    };
    let size = size.filter(|size| origin.size.is_some() || *size <= MAX_UNANNOUNCED);
    let request = FetchRequest {
        url: url.clone(),
        start: 0,
        entity: None,
        size: size.ok_or_else(|| DownloadError::Size { url: url.clone() })?,
        credentials: None,
    };
    let mut stream = fetcher.open(request).await.map_err(failed)?;
    let file: &mut File = spool.as_file_mut();
    while let Some(bytes) = stream.next().await {
        file.write_all(&bytes.map_err(failed)?).map_err(keep)?;
    }
    Ok(())
}
