//! Extensions of the running system: merged ones by the mount table, and those that systemd's search
//! path offers. Blocks for a moment.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use super::baseline::{ExtensionFacts, ExtensionOffer, FileStamp, OfferState, UnitOrigin};
use crate::extension::{ExtensionClass, is_of_one_version, merged_names};
use crate::host::{Host, Unreadable};

/// Most entries of a directory that are looked at.
const MOST: usize = 1024;

/// A file that no extension brings.
const fn images_file(class: ExtensionClass) -> &'static str {
    match class {
        ExtensionClass::System => "/usr/lib/os-release",
        ExtensionClass::Configuration => "/etc/machine-id",
    }
}

/// The extensions of both kinds.
pub(super) struct Extensions {
    /// Over `/usr` and `/opt`.
    pub(super) system: ExtensionFacts,
    /// Over `/etc`.
    pub(super) configuration: ExtensionFacts,
}

impl Extensions {
    /// Looks at the mount table and the search path.
    ///
    /// # Errors
    /// If it can't be told what is merged. A directory of the search path that can't be read offers
    /// nothing.
    pub(super) fn look(host: &Host) -> Result<Self, Unreadable> {
        let look = |class| {
            Ok(ExtensionFacts {
                merged: merged_names(host, class)?,
                offered: offered(host, class),
            })
        };
        Ok(Self {
            system: look(ExtensionClass::System)?,
            configuration: look(ExtensionClass::Configuration)?,
        })
    }

    /// The extension that brought the file `path`; nothing if none did, or nobody can tell.
    pub(super) fn origin_of(&self, host: &Host, path: &str) -> Option<UnitOrigin> {
        let path = behind_link_of_root(host, path);
        let path = path.as_str();
        let is_above = |class: &ExtensionClass| {
            let mut hierarchies = class.hierarchies().iter();
            hierarchies.any(|hierarchy| path.starts_with(&format!("{hierarchy}/")))
        };
        let class = ExtensionClass::ALL.into_iter().find(is_above)?;
        let (facts, origin): (_, fn(String) -> UnitOrigin) = match class {
            ExtensionClass::System => (&self.system, UnitOrigin::Extension),
            ExtensionClass::Configuration => (&self.configuration, UnitOrigin::Confext),
        };
        let mut names = facts.merged.iter();
        let is_in_directory = |name: &&String| {
            let files = class
                .search_path()
                .iter()
                .map(|directory| format!("{directory}/{name}{path}"));
            files
                .into_iter()
                .any(|file| fs::symlink_metadata(host.path(&file)).is_ok())
        };
        names
            .clone()
            .find(is_in_directory)
            .or_else(|| {
                let layer = layer(host, path)?;
                let is_images = self::layer(host, images_file(class)) == Some(layer);
                let brings = |name: &&String| {
                    self::layer(
                        host,
                        &format!("{}/extension-release.{name}", class.release_directory()),
                    ) == Some(layer)
                };
                names.find(brings).filter(|_| !is_images)
            })
            .map(|name| origin(name.clone()))
    }
}

/// `path` where its first directory leads: systemd of Debian 12 calls the directory of its units
/// `/lib/systemd/system`, and `/lib` is a link into `/usr`.
fn behind_link_of_root(host: &Host, path: &str) -> String {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let Some((directory, below)) = parts else {
        return path.to_owned();
    };
    let directory = format!("/{directory}");
    match fs::read_link(host.path(&directory)) {
        Ok(target) => format!("{}/{below}", absolute(&directory, &target).display()),
        Err(_) => path.to_owned(),
    }
}

/// What tells files of one layer of an overlay from those of another: the device, which the overlay
/// makes up for each of its file systems, or the highest bits of the inode's number, where it puts
/// the number of the file system.
fn layer(host: &Host, path: &str) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(host.path(path)).ok()?;
    Some((found.dev(), found.ino() >> 48))
}

/// What the search path offers, by name.
fn offered(host: &Host, class: ExtensionClass) -> BTreeMap<String, ExtensionOffer> {
    let mut offered = BTreeMap::new();
    for directory in class.search_path() {
        for entry in entries(host, directory) {
            let path = format!("{directory}/{entry}");
            if let Some((name, offer)) = offer(host, &entry, path)
                && !offered.contains_key(&name)
            {
                offered.insert(name, offer);
            }
        }
    }
    offered
}

fn entries(host: &Host, directory: &str) -> Vec<String> {
    let found = fs::read_dir(host.path(directory));
    let names = found.into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.take(MOST).collect()
}

/// The extension at `path` with its name; nothing if systemd wouldn't take it for one.
fn offer(host: &Host, entry: &str, path: String) -> Option<(String, ExtensionOffer)> {
    let real = host.path(&path);
    let target = fs::read_link(&real).ok().map(|target| absolute(&path, &target));
    let state = match fs::metadata(&real) {
        Ok(found) => state(&real, &found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => OfferState::Dangling,
        // Nobody knows what is there: it is required of nobody.
        Err(_) => return None,
    };
    let is_directory = fs::metadata(&real).is_ok_and(|found| found.is_dir());
    let name = entry.strip_suffix(".v").filter(|_| is_directory).unwrap_or(entry);
    let name = match name.strip_suffix(".raw") {
        Some(name) => name,
        None if is_directory || target.is_some() => name,
        None => return None,
    };
    let is_images = [Some(Path::new(&path)), target.as_deref()]
        .into_iter()
        .flatten()
        .any(|path| path.starts_with("/usr") || path.starts_with("/run"));
    let is_of_one_version = target.as_deref().is_some_and(is_of_one_version);
    let stamp = (!is_images && !is_of_one_version)
        .then(|| stamp_of_extension(&real, name))
        .flatten();
    let offer = ExtensionOffer {
        path,
        state,
        stamp,
        is_images,
    };
    (!name.is_empty() && !name.starts_with('.')).then(|| (name.to_owned(), offer))
}

/// Size and time of an extension's file; of a directory with that of its release files, whichever it
/// has.
fn stamp_of_extension(real: &Path, name: &str) -> Option<FileStamp> {
    let mut stamp = stamp_of(&fs::metadata(real).ok()?);
    for class in ExtensionClass::ALL {
        let directory = real.join(class.release_directory().trim_start_matches('/'));
        if let Ok(found) = fs::metadata(directory.join(format!("extension-release.{name}"))) {
            let release = stamp_of(&found);
            stamp.size = stamp.size.saturating_add(release.size);
            stamp.modified = stamp.modified.max(release.modified);
        }
    }
    Some(stamp)
}

/// Size and time of a file.
pub(super) fn stamp_of(found: &Metadata) -> FileStamp {
    let seconds = found.mtime().saturating_mul(1_000_000_000);
    FileStamp {
        size: found.len(),
        modified: seconds.saturating_add(found.mtime_nsec()),
    }
}

fn state(real: &Path, found: &Metadata) -> OfferState {
    let is_null = found.file_type().is_char_device();
    let is_empty = found.is_dir() && fs::read_dir(real).is_ok_and(|mut entries| entries.next().is_none());
    if is_null || is_empty {
        OfferState::Masked
    } else {
        OfferState::There
    }
}

/// Where a link at `path` leads, as a path of the host.
pub(super) fn absolute(path: &str, target: &Path) -> PathBuf {
    let mut absolute = Path::new(path).parent().unwrap_or(Path::new("/")).to_path_buf();
    for part in target.components() {
        match part {
            Component::RootDir => absolute = PathBuf::from("/"),
            Component::ParentDir => drop(absolute.pop()),
            Component::Normal(part) => absolute.push(part),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    absolute
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Machine {
        _root: tempfile::TempDir,
        host: Host,
    }

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let host = Host::new(root.path());
            Self { _root: root, host }
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn link(&self, target: &str, path: &str) {
            let path = self.host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }

        fn look(&self) -> Extensions {
            Extensions::look(&self.host).unwrap()
        }
    }

    #[test]
    fn the_search_path_offers_what_systemd_would_take() {
        let machine = Machine::new();
        machine.write("/var/lib/extensions/docker.raw", "x");
        machine.write("/var/lib/extensions/tree/usr/lib/x", "x");
        machine.write("/var/lib/extensions/README", "x");
        machine.write("/var/lib/extensions/.hidden.raw", "x");
        machine.write("/var/lib/extensions/many.raw.v/many_1.raw", "x");
        machine.write("/var/lib/extensions/off.raw", "x");
        fs::create_dir_all(machine.host.path("/etc/extensions/off")).unwrap();
        machine.link("/dev/null", "/etc/extensions/null.raw");
        machine.link("/usr/share/nowhere.raw", "/etc/extensions/image.raw");
        machine.link("../../usr/share/nowhere.raw", "/etc/extensions/image2.raw");
        machine.write("/var/lib/confexts/settings/etc/x", "x");
        let found = machine.look();
        let offered: Vec<(&str, OfferState, bool)> = found
            .system
            .offered
            .iter()
            .map(|(name, offer)| (name.as_str(), offer.state, offer.is_images))
            .collect();
        assert_eq!(
            offered,
            [
                ("docker", OfferState::There, false),
                ("image", OfferState::Dangling, true),
                ("image2", OfferState::Dangling, true),
                ("many", OfferState::There, false),
                ("null", OfferState::Masked, false),
                ("off", OfferState::Masked, false),
                ("tree", OfferState::There, false),
            ]
        );
        assert_eq!(
            found.system.offered["docker"].path,
            "/var/lib/extensions/docker.raw"
        );
        assert!(found.configuration.offered.contains_key("settings"));
        assert!(found.system.merged.is_empty() && found.configuration.merged.is_empty());
    }

    #[test]
    fn merged_is_what_the_mount_table_shows() {
        let machine = Machine::new();
        let table = include_str!("../../tests/fixtures/mountinfo/merged.txt");
        machine.write("/proc/self/mountinfo", table);
        assert_eq!(machine.look().system.merged, ["docker".to_owned()].into());
        // Of an overlay whose layers say nothing, the files that extensions bring.
        let table = include_str!("../../tests/fixtures/mountinfo/confext.txt");
        machine.write("/proc/self/mountinfo", table);
        machine.write("/etc/extension-release.d/extension-release.settings", "ID=_any");
        assert_eq!(
            machine.look().configuration.merged,
            ["settings".to_owned()].into()
        );
        machine.write("/proc/self/mountinfo", "?\n");
        assert!(Extensions::look(&machine.host).is_err());
    }

    #[test]
    fn a_file_is_told_to_be_an_extensions_where_that_can_be_told() {
        let machine = Machine::new();
        let table = include_str!("../../tests/fixtures/mountinfo/merged.txt");
        machine.write("/proc/self/mountinfo", table);
        machine.write("/usr/lib/os-release", "");
        let unit = "/usr/lib/systemd/system/docker.service";
        machine.write(unit, "");
        let found = machine.look();
        assert_eq!(found.origin_of(&machine.host, unit), None);
        machine.write(&format!("/var/lib/extensions/docker{unit}"), "");
        let origin = machine.look().origin_of(&machine.host, unit);
        assert_eq!(origin, Some(UnitOrigin::Extension("docker".into())));
        // Debian 12 knows it by another name.
        let known_as = unit.trim_start_matches("/usr");
        assert_eq!(machine.look().origin_of(&machine.host, known_as), None);
        machine.link("usr/lib", "/lib");
        assert_eq!(machine.look().origin_of(&machine.host, known_as), origin);
        assert_eq!(
            found.origin_of(&machine.host, "/etc/systemd/system/a.service"),
            None
        );
    }
}
