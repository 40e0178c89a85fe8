//! Who this machine is, as update servers know it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Host;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const MACHINE_ID: &str = "/etc/machine-id";

/// No identity file is longer; whatever follows is not an identity.
const LONGEST: u64 = 4096;

/// What tells this machine and this boot apart from others. A value that cannot be read is empty: the
/// server then knows less, but the node still gets its updates.
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
    /// Reads the machine's identity. Below a root that has no `/proc` the boot id is the real kernel's.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            boot_id: first_line(&self.path(BOOT_ID))
                .or_else(|| first_line(Path::new(BOOT_ID)))
                .unwrap_or_default(),
            machine_id: first_line(&self.path(MACHINE_ID)).unwrap_or_default(),
            machine: machine(),
        }
    }
}

fn machine() -> String {
    nix::sys::utsname::uname()
        .map(|names| names.machine().to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn first_line(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(LONGEST)
        .read_to_string(&mut text)
        .ok()?;
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
        let identity = host.identity();
        assert_eq!(identity.boot_id, "14304914-0000-4000-8000-000000000000");
        assert_eq!(identity.machine_id, "3d1219c7c4c5404aaa1f6d2a48adfda4");
        assert_eq!(identity.machine, std::env::consts::ARCH);
    }

    #[test]
    fn a_missing_machine_id_is_empty_and_the_boot_id_the_kernels() {
        let root = tempfile::tempdir().unwrap();
        let identity = Host::new(root.path()).identity();
        assert_eq!(identity.machine_id, "");
        assert_eq!(
            identity.boot_id,
            std::fs::read_to_string(BOOT_ID).unwrap().trim_end()
        );
    }
}
