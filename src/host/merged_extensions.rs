//! The extensions that are merged: systemd's overlays on `/usr`, `/opt` and `/etc`, and the names
//! in them.
//!
//! ```text
//!   mountinfo:  99 67 0:45 / /usr ro … - overlay sysext …      merged, whatever systemd-sysext's exit code was
//!   /usr/.systemd-sysext/extensions                            their names, one a line
//!   /usr/lib/extension-release.d/extension-release.NAME        what each says of itself, in the merged tree
//! ```
//!
//! The mount table decides; a directory of systemd's without its overlay was copied from
//! somewhere. A configuration extension that is merged mutably has the same source and type.

use std::collections::BTreeSet;

use super::{Host, Unreadable};

const MOUNT_TABLE: &str = "/proc/self/mountinfo";
/// Longest mount table, in bytes: nodes with containers have some thousand lines.
const LONGEST_TABLE: u64 = 16 << 20;
/// Longest name of a file, in bytes, and so of an extension.
const LONGEST_NAME: usize = 255;

/// Whether an extension adds programs or configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExtensionClass {
    /// A system extension: of `/usr` and `/opt`.
    System,
    /// A configuration extension: of `/etc`, since systemd 254.
    Configuration,
}

impl ExtensionClass {
    /// Both.
    pub const ALL: [Self; 2] = [Self::System, Self::Configuration];

    /// systemd's word, which is also the source of the overlays.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::System => "sysext",
            Self::Configuration => "confext",
        }
    }

    /// The directories that are merged.
    const fn hierarchies(self) -> &'static [&'static str] {
        match self {
            Self::System => &["/usr", "/opt"],
            Self::Configuration => &["/etc"],
        }
    }

    /// Directory of what extensions say of themselves, in one of them and in the merged tree.
    #[must_use]
    pub const fn release_directory(self) -> &'static str {
        match self {
            Self::System => "/usr/lib/extension-release.d",
            Self::Configuration => "/etc/extension-release.d",
        }
    }
}

impl Host {
    /// Names of the extensions of this class that are merged now; none if there are none.
    ///
    /// # Errors
    /// [`Unreadable`] if that can't be told.
    pub fn merged_extensions(&self, class: ExtensionClass) -> Result<BTreeSet<String>, Unreadable> {
        let table = self.read_up_to(MOUNT_TABLE, LONGEST_TABLE)?.unwrap_or_default();
        let mut names = BTreeSet::new();
        for hierarchy in class.hierarchies() {
            if !is_merged(&table, class, hierarchy) {
                continue;
            }
            let list = format!("{hierarchy}/.systemd-{}/extensions", class.word());
            let list = self.read(&list)?.unwrap_or_default();
            names.extend(names_in(&list));
        }
        Ok(names)
    }
}

/// Whether a line of the mount table is an overlay of systemd's on `hierarchy`.
fn is_merged(table: &[u8], class: ExtensionClass, hierarchy: &str) -> bool {
    table.split(|byte| *byte == b'\n').any(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let on = fields.nth(4) == Some(hierarchy.as_bytes());
        // Any number of optional fields, and a hyphen.
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        on && rest.next() == Some(b"overlay") && rest.next() == Some(class.word().as_bytes())
    })
}

/// Whatever can't be the name of a file is left out.
fn names_in(list: &[u8]) -> impl Iterator<Item = String> + '_ {
    let lines = list.split(|byte| *byte == b'\n');
    let names = lines.filter_map(|line| std::str::from_utf8(line).ok());
    names
        .filter(|name| !name.is_empty() && name.len() <= LONGEST_NAME)
        .filter(|name| !name.contains('/') && !name.starts_with('.'))
        .map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/mountinfo");

    /// A host with a recorded mount table, and systemd's lists in every place.
    fn merged(table: &str, class: ExtensionClass) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let write = |path: &str, text: &[u8]| {
            let path = host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "/proc/self/mountinfo",
            &fs::read(format!("{FIXTURES}/{table}.txt")).unwrap(),
        );
        write("/usr/.systemd-sysext/extensions", b"docker\ncontainerd\n../x\n\n");
        write("/opt/.systemd-sysext/extensions", b"of-opt");
        write("/etc/.systemd-confext/extensions", b"site");
        host.merged_extensions(class).unwrap().into_iter().collect()
    }

    #[test]
    fn only_what_the_mount_table_shows_is_merged() {
        let system = ["containerd", "docker"];
        for (table, expected) in [
            ("slot", &[][..]),
            ("unmerged", &[]),
            ("merged", &system),
            ("merged-ext4", &system),
            ("refreshed", &system),
            ("bound-then-merged", &system),
            ("two-overlays", &system),
            ("no-slot-merged", &system),
            ("confext", &system),
        ] {
            assert_eq!(merged(table, ExtensionClass::System), expected, "{table}");
            let configuration: &[&str] = if table == "confext" { &["site"] } else { &[] };
            assert_eq!(
                merged(table, ExtensionClass::Configuration),
                configuration,
                "{table}"
            );
        }
    }

    #[test]
    fn nothing_is_merged_where_there_is_no_mount_table() {
        let root = tempfile::tempdir().unwrap();
        let names = Host::new(root.path()).merged_extensions(ExtensionClass::System);
        assert!(names.unwrap().is_empty());
    }
}
