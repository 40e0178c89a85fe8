//! The PCR policy: expected measurements of the new image, for the service that attests this machine.

use std::path::Path;

use super::InstallError;
use super::attempt::blocking;
use crate::fetch::Fetcher;

/// Posts the policy at `path` to `url`.
///
/// # Errors
/// If it can't be read, or the server doesn't take it.
pub(super) async fn post(fetcher: &Fetcher, path: &Path, url: &str) -> Result<(), InstallError> {
    let file = path.to_owned();
    let policy = blocking(move || {
        std::fs::read(&file).map_err(|source| InstallError::Io {
            action: "reading",
            what: file.display().to_string(),
            source,
        })
    })
    .await?;
    let posted = fetcher.post(url, "application/octet-stream", policy).await;
    posted.map_err(|source| InstallError::PcrPost {
        url: url.to_owned(),
        source,
    })
}
