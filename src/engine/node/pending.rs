//! The file that says, for as long as this boot lasts, that the other slot boots next.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use crate::host::Host;

/// On a tmpfs: a reboot clears it. Other programs look for it too.
const MARKER: &str = "/var/run/update_engine_autoupdate_completed";

/// Whether an update waits for the reboot.
pub(super) fn is_pending(host: &Host) -> bool {
    host.path(MARKER).exists()
}

/// Leaves the marker.
///
/// # Errors
/// When it can't be made: a restart of the daemon would then look for updates again.
pub(super) fn remember(host: &Host) -> io::Result<()> {
    let path = host.path(MARKER);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map(drop)
}

/// Takes the marker away; none is fine too.
///
/// # Errors
/// When it is there and can't be removed.
pub(super) fn forget(host: &Host) -> io::Result<()> {
    match fs::remove_file(host.path(MARKER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_marker_comes_and_goes() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        assert!(!is_pending(&host));
        forget(&host).unwrap();
        remember(&host).unwrap();
        let metadata = fs::metadata(host.path(MARKER)).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.len()), (0o600, 0));
        assert!(is_pending(&host));
        forget(&host).unwrap();
        assert!(!is_pending(&host));
    }
}
