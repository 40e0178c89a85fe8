//! The request file: root has asked for a reboot in this boot.
//!
//! Read at the manager's start, so that a restart between the signal and the reboot loses nothing. It names its boot, and has
//! no effect in another one.

use std::io;

use crate::host::Host;
use crate::reboot_lock::publish;

/// Kept by the unit, gone with the reboot.
const FILE: &str = "/run/update-reboot-manager/requested";

/// Leaves it. Blocks.
///
/// # Errors
/// Any I/O error.
pub(super) fn write(host: &Host, boot: &str) -> io::Result<()> {
    publish(&host.path(FILE), &format!("{boot}\n"))
}

/// Whether it is there, of this boot. Blocks.
pub(super) fn is_there(host: &Host, boot: &str) -> bool {
    match host.read(FILE) {
        Ok(text) => text.is_some_and(|text| text.trim_ascii() == boot.as_bytes()),
        Err(error) => {
            tracing::warn!(%error, "whether root has asked for a reboot can't be told");
            false
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_in_its_own_boot() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        assert!(!is_there(&host, "1"));
        write(&host, "1").unwrap();
        assert!(is_there(&host, "1"));
        assert!(!is_there(&host, "2"));
        assert!(!is_there(&host, ""));
    }
}
