//! Identity of the machine for update servers: machine id, boot id, architecture; and its mode,
//! production or a developer's.

use super::{Host, Unreadable};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const MACHINE_ID: &str = "/etc/machine-id";
/// Longest part of a wrong id that is shown, in characters.
const LONGEST_SHOWN: usize = 64;

/// Identity of this machine and this boot. A value whose file is missing is empty: the server then
/// knows less, but the node still gets its updates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The kernel's id of this boot, without braces.
    pub boot_id: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The processor architecture as `uname -m` prints it.
    pub machine: String,
}

impl Host {
    /// Reads the machine's identity.
    ///
    /// # Errors
    /// [`Unreadable`]: without it the server would take the node for another one.
    pub fn identity(&self) -> Result<Identity, Unreadable> {
        Ok(Identity {
            boot_id: self.boot_id()?,
            machine_id: self.first_line(MACHINE_ID)?.unwrap_or_default(),
            machine: machine(),
        })
    }

    /// Sentence about a wrong machine id; `None` for a good one. An unreadable one is an error of
    /// [`Self::identity`].
    #[must_use]
    pub fn machine_id_warning(&self) -> Option<String> {
        let found = self.first_line(MACHINE_ID).ok()?;
        let why = match found.as_deref() {
            None => "isn't there".to_owned(),
            Some("") => "is empty".to_owned(),
            Some("uninitialized") => "says \"uninitialized\": nothing has set it yet".to_owned(),
            Some(id) if is_machine_id(id) => return None,
            Some(id) => {
                let id: String = id.chars().take(LONGEST_SHOWN).collect();
                format!("has {id:?}, which isn't 32 hexadecimal digits other than zeros")
            }
        };
        Some(format!(
            "{MACHINE_ID} {why}; the update server can't tell this node from others with the same"
        ))
    }

    /// The kernel's id of this boot; below a root that has no `/proc` the real kernel's.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn boot_id(&self) -> Result<String, Unreadable> {
        let own = self.first_line(BOOT_ID)?;
        let id = match own {
            Some(id) => Some(id),
            None => Host::new("/").first_line(BOOT_ID)?,
        };
        Ok(id.unwrap_or_default())
    }

    fn first_line(&self, absolute: &str) -> Result<Option<String>, Unreadable> {
        let contents = self.read(absolute)?;
        Ok(contents.map(|contents| {
            let text = String::from_utf8_lossy(&contents);
            text.lines().next().unwrap_or_default().trim().to_owned()
        }))
    }
}

/// Whether `text` is an id by systemd's `machine-id(5)`; readers accept capitals, too.
fn is_machine_id(text: &str) -> bool {
    text.len() == 32
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte != b'0')
}

/// Architecture of this machine's kernel as `uname -m` prints it.
#[must_use]
pub fn machine() -> String {
    nix::sys::utsname::uname()
        .map(|names| names.machine().to_string_lossy().into_owned())
        .unwrap_or_default()
}

const DEV_MODE: &str = "/root/.dev_mode";

/// Whether this is a production or a developer's node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeMode {
    /// Without that file, as on every node of a fleet.
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
    fn identity_comes_from_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        for (path, text) in [
            (BOOT_ID, "14304914-0000-4000-8000-000000000000\n"),
            (MACHINE_ID, "3d1219c7c4c5404aaa1f6d2a48adfda4\n"),
        ] {
            std::fs::create_dir_all(host.path(path).parent().unwrap()).unwrap();
            std::fs::write(host.path(path), text).unwrap();
        }
        let identity = host.identity().unwrap();
        assert_eq!(identity.boot_id, "14304914-0000-4000-8000-000000000000");
        assert_eq!(identity.machine_id, "3d1219c7c4c5404aaa1f6d2a48adfda4");
        assert_eq!(identity.machine, std::env::consts::ARCH);
    }

    #[test]
    fn a_missing_machine_id_is_empty_and_the_boot_id_the_kernels() {
        let root = tempfile::tempdir().unwrap();
        let identity = Host::new(root.path()).identity().unwrap();
        assert_eq!(identity.machine_id, "");
        assert_eq!(
            identity.boot_id,
            std::fs::read_to_string(BOOT_ID).unwrap().trim_end()
        );
    }

    #[test]
    fn a_machine_id_that_can_not_be_read_is_none_of_nobody() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        std::fs::create_dir_all(host.path(MACHINE_ID)).unwrap();
        assert_eq!(host.identity().unwrap_err().path, MACHINE_ID);
    }

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
