//! The node's mode: production, or a developer's.

use super::{Host, Unreadable};

const DEV_MODE: &str = "/root/.dev_mode";

/// Whether this is a production or a developer's node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeMode {
    /// Ordinary.
    Production,
    /// `/root/.dev_mode` exists: no periodic checks, no backoff.
    Developer,
}

impl Host {
    /// The mode now: the file may come and go while the daemon runs.
    ///
    /// # Errors
    /// [`Unreadable`] if nobody knows whether the file is there.
    pub fn mode(&self) -> Result<NodeMode, Unreadable> {
        Ok(if self.is_there(DEV_MODE)? {
            NodeMode::Developer
        } else {
            NodeMode::Production
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn developer_mode_is_a_file_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        assert_eq!(host.mode().unwrap(), NodeMode::Production);
        fs::create_dir(root.path().join("root")).unwrap();
        fs::write(root.path().join("root/.dev_mode"), "").unwrap();
        assert_eq!(host.mode().unwrap(), NodeMode::Developer);
    }

    #[test]
    fn a_mark_of_which_nobody_knows_makes_no_machine_official() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("root"), "").unwrap();
        assert_eq!(Host::new(root.path()).mode().unwrap_err().path, DEV_MODE);
    }
}
