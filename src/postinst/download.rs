//! Installation of one extension: downloaded, verified, put in place.

use std::path::PathBuf;

use crate::extension::{ExtensionError, PackageOrigin, download};
use crate::fetch::{FetchSettings, Fetcher};
use crate::host::Host;
use crate::payload::Trust;

const KEY: &str = "/usr/share/update_engine/update-payload-key.pub.pem";

/// Downloads the payload at `origin` and makes the image in it the file `name` in the first of
/// `places` that has room. Nothing appears there before it is verified and complete.
pub(super) async fn install(
    host: &Host,
    origin: &PackageOrigin,
    places: &[PathBuf],
    name: &str,
) -> Result<(), ExtensionError> {
    use ExtensionError as E;
    let keys = Trust::Keys(Trust::in_keys(&[host.path(KEY)])?);
    let fetcher = Fetcher::new(FetchSettings::default());
    let mut failure = E::Nowhere;
    for place in places {
        let package = download(&fetcher, origin, place).await;
        match package.and_then(|package| package.build(&keys, name)) {
            Err(error @ (E::Keep { .. } | E::Full { .. } | E::Apply { .. })) => failure = error,
            result => return result,
        }
    }
    Err(failure)
}
