//! The names of the extensions that are merged: those in the layers of systemd's overlays on
//! `/usr`, `/opt` and `/etc`.
//!
//! ```text
//!   mountinfo:  99 67 0:45 / /usr ro … - overlay sysext ro,lowerdir=/run/systemd/sysext/extensions/NAME/usr:…
//!               98 24 0:49 / /etc ro … - overlay confext ro,lowerdir=/run/systemd/sysext/confexts/NAME/etc:…
//! ```
//!
//! The mount table decides: the exit code of `systemd-sysext` tells nothing, and a file that lies in
//! the merged tree may be an older merge's, which a bind in this process's namespace still shows.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::disk::overlay_layers;
use crate::host::{Host, Unreadable};

/// Most extensions of a class that are looked at.
const MOST: usize = 1024;

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
    #[must_use]
    pub const fn hierarchies(self) -> &'static [&'static str] {
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

    /// Where systemd 252 to 257 looks for extensions; a name in an earlier directory hides the same
    /// in a later one.
    #[must_use]
    pub const fn search_path(self) -> &'static [&'static str] {
        match self {
            Self::System => &["/etc/extensions", "/run/extensions", "/var/lib/extensions"],
            Self::Configuration => &[
                "/run/confexts",
                "/var/lib/confexts",
                "/usr/local/lib/confexts",
                "/usr/lib/confexts",
            ],
        }
    }
}

/// Names of the extensions of this class that are merged now; none if there are none.
///
/// # Errors
/// [`Unreadable`] if that can't be told.
pub fn merged_names(host: &Host, class: ExtensionClass) -> Result<BTreeSet<String>, Unreadable> {
    let mut merged = BTreeSet::new();
    for hierarchy in class.hierarchies() {
        let layers = overlay_layers(host, hierarchy, class.word()).map_err(|error| Unreadable {
            path: "/proc/self/mountinfo".to_owned(),
            source: io::Error::other(error),
        })?;
        let Some(layers) = layers else { continue };
        let by_layer: Vec<String> = layers.iter().filter_map(|layer| name_of(layer)).collect();
        // An overlay whose layers have no names: the files that all extensions bring tell.
        let names = if by_layer.is_empty() {
            released(host, class)?
        } else {
            by_layer
        };
        merged.extend(names.into_iter().take(MOST));
    }
    Ok(merged)
}

/// The extension of a layer: `NAME` of `…/extensions/NAME/usr` or `…/confexts/NAME/etc`.
fn name_of(layer: &Path) -> Option<String> {
    let extension = layer.parent()?;
    let directory = extension.parent()?.file_name()?;
    let is_extension = directory == "extensions" || directory == "confexts";
    is_extension.then(|| extension.file_name()?.to_str().map(str::to_owned))?
}

fn released(host: &Host, class: ExtensionClass) -> Result<Vec<String>, Unreadable> {
    let directory = class.release_directory();
    let entries = host.if_there(directory, |path| fs::read_dir(path))?;
    let names = entries.into_iter().flatten().take(MOST).map(|entry| {
        let name = entry.map_err(|source| Unreadable {
            path: directory.to_owned(),
            source,
        })?;
        let name = name.file_name().into_string().unwrap_or_default();
        Ok(name.strip_prefix("extension-release.").map(str::to_owned))
    });
    let names: Result<Vec<Option<String>>, Unreadable> = names.collect();
    Ok(names?.into_iter().flatten().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/mountinfo");

    /// Names by a recorded mount table, on a host where a release file of each class lies.
    fn merged(table: &str, class: ExtensionClass) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let write = |path: &str, text: &[u8]| {
            let path = host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let table = fs::read(format!("{FIXTURES}/{table}.txt")).unwrap();
        write("/proc/self/mountinfo", &table);
        write("/usr/lib/extension-release.d/extension-release.stale", b"");
        write("/etc/extension-release.d/extension-release.by-file", b"");
        merged_names(&host, class).unwrap().into_iter().collect()
    }

    #[test]
    fn only_what_the_mount_table_shows_is_merged() {
        for (table, expected) in [
            ("slot", &[][..]),
            ("unmerged", &[]),
            ("merged", &["docker"]),
            ("merged-ext4", &["docker"]),
            ("refreshed", &["docker"]),
            ("bound-then-merged", &["docker"]),
            ("two-overlays", &["docker"]),
            ("no-slot-merged", &["docker"]),
            ("confext", &["docker"]),
            ("merged-257", &["engine", "tools"]),
        ] {
            assert_eq!(merged(table, ExtensionClass::System), expected, "{table}");
            let configuration: &[&str] = match table {
                // That overlay's layers have no names.
                "confext" => &["by-file"],
                "merged-257" => &["site"],
                _ => &[],
            };
            assert_eq!(
                merged(table, ExtensionClass::Configuration),
                configuration,
                "{table}"
            );
        }
    }

    #[test]
    fn nothing_is_merged_where_there_is_no_mount_table_and_nobody_knows_where_it_makes_no_sense() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let look = || merged_names(&host, ExtensionClass::System);
        assert!(look().unwrap().is_empty());
        fs::create_dir_all(host.path("/proc/self")).unwrap();
        fs::write(host.path("/proc/self/mountinfo"), "?\n").unwrap();
        assert_eq!(look().unwrap_err().path, "/proc/self/mountinfo");
    }
}
