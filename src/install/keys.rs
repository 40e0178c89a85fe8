//! The trusted public keys, read anew at each use: operators bind-mount over them while the daemon
//! runs.

use std::path::PathBuf;

use payload_format::PublicKeys;

use super::InstallError;

/// Reads all trusted keys.
///
/// # Errors
/// If there are none, or any of them can't be used: a key that is there but unreadable is a mistake
/// to be told about, not to be worked around.
pub(super) fn trusted(paths: &[PathBuf]) -> Result<PublicKeys, InstallError> {
    if paths.is_empty() {
        return Err(InstallError::NoKeys);
    }
    let pems = paths
        .iter()
        .map(|path| {
            std::fs::read_to_string(path).map_err(|source| InstallError::KeyFile {
                path: path.clone(),
                source,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    PublicKeys::from_pems(&pems).map_err(InstallError::Keys)
}
