//! The extensions that are merged now, and which of them stay the same under another image.
//!
//! ```text
//!   merged ─▶ its file, in the directories where systemd looks ─▶ links followed, down to /usr
//!     in /usr                                the image's: looked up in the new one
//!     in /run                                made anew at each start, by whoever knows
//!     in a directory of one version          the initrd's or ours, with each version another file
//!     gone                                   taken away since: merged no more after the reboot
//!     anywhere else                          stays the same, and is judged
//! ```
//!
//! Without the distinction every update of a Flatcar node would be refused: its own extensions are
//! made for one image each.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::getxattr;

use super::{ExtensionClass, merged_names};
use crate::host::{Host, Unreadable};
use crate::image::OsRelease;

/// Directories in which an extension's file belongs to one version of the system: Flatcar's initrd
/// links those of `enabled-sysext.conf` and of the OEM from there.
const OF_ONE_VERSION: [&str; 5] = [
    "/etc/flatcar/sysext",
    "/etc/flatcar/oem-sysext",
    "/oem/sysext",
    "/usr/share/oem/sysext",
    "/mnt/oem/sysext",
];

/// Links that are followed; more are a circle.
const MOST_LINKS: usize = 40;

/// By which the author of an extension allows its file any name, with the value 0.
const STRICT: &str = "user.extension-release.strict";

/// An extension that is merged, and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedExtension {
    /// System or configuration.
    pub class: ExtensionClass,
    /// The name under which systemd merges it.
    pub name: String,
    /// Whether systemd chose it from a `.v` directory of versions.
    pub is_versioned: bool,
    /// What becomes of it under another image.
    pub under_another_image: UnderAnotherImage,
}

/// What becomes of an extension under another image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnderAnotherImage {
    /// It stays the same. With what it says of itself; none if that can't be told, and nothing is
    /// to be judged.
    Same(Option<OsRelease>),
    /// The image's file at this absolute path, if it has one.
    OfImage(PathBuf),
    /// Another one, or none: whoever puts it there decides with the image.
    NotKnown,
}

/// The extensions that are merged on `host`, by class and name. `of_versions` is one more directory
/// whose files belong to one version each.
///
/// # Errors
/// [`Unreadable`] if that can't be told.
pub fn merged(host: &Host, of_versions: &str) -> Result<Vec<MergedExtension>, Unreadable> {
    let mut found = Vec::new();
    for class in ExtensionClass::ALL {
        for name in merged_names(host, class)? {
            let mut is_versioned = false;
            let found_there = place(host, class, &name, of_versions).and_then(|place| {
                Ok(match place {
                    ExtensionPlace::Stays(path) => {
                        is_versioned = path.extension().is_some_and(|end| end == "v");
                        UnderAnotherImage::Same(release(host, class, &name, &path)?)
                    }
                    ExtensionPlace::OfImage(path) => UnderAnotherImage::OfImage(path),
                    ExtensionPlace::NotKnown => UnderAnotherImage::NotKnown,
                })
            });
            // One that can't be told must not hide the others.
            let under_another_image = found_there.unwrap_or_else(|error| {
                tracing::warn!("the {} {name} is not judged: {error}", class.word());
                UnderAnotherImage::Same(None)
            });
            found.push(MergedExtension {
                class,
                name,
                is_versioned,
                under_another_image,
            });
        }
    }
    Ok(found)
}

/// Where the file at `path` lies, an absolute path whose parts in `/usr` are those of the image
/// mounted at `image`: below `image`, unless links lead out of `/usr`. Without links; none if there
/// is no such file.
///
/// # Errors
/// If that can't be told.
pub fn path_in_image(host: &Host, image: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let lies = |path: &Path| match path.strip_prefix("/usr") {
        Ok(below) => image.join(below),
        Err(_) => host.path(&path.to_string_lossy()),
    };
    Ok(match walk(lies, path, WalkLimit::Never)? {
        WalkEnd::To(found) => Some(lies(&found)),
        WalkEnd::Nowhere => None,
    })
}

/// Whether an extension's file at this absolute path belongs to one version of the system.
#[must_use]
pub fn is_of_one_version(path: &Path) -> bool {
    OF_ONE_VERSION.iter().any(|directory| path.starts_with(directory))
}

/// Where an extension's file lies.
enum ExtensionPlace {
    /// At this absolute path.
    Stays(PathBuf),
    OfImage(PathBuf),
    NotKnown,
}

fn place(host: &Host, class: ExtensionClass, name: &str, of_versions: &str) -> io::Result<ExtensionPlace> {
    let lies = |path: &Path| host.path(&path.to_string_lossy());
    let files = [
        name.to_owned(),
        format!("{name}.raw"),
        format!("{name}.raw.v"),
        format!("{name}.v"),
    ];
    for directory in class.search_path() {
        for file in &files {
            let path = Path::new(directory).join(file);
            if is_images_own(host, &path) {
                return Ok(ExtensionPlace::NotKnown);
            }
            let path = match walk(lies, &path, WalkLimit::AtUsr)? {
                WalkEnd::Nowhere => continue,
                WalkEnd::To(path) => path,
            };
            let is_below = |directory: &str| path.starts_with(directory);
            if is_of_one_version(&path) || is_below(of_versions) {
                return Ok(ExtensionPlace::NotKnown);
            }
            return Ok(match () {
                () if is_below("/usr") => ExtensionPlace::OfImage(path),
                () if is_below("/run") => ExtensionPlace::NotKnown,
                () => ExtensionPlace::Stays(path),
            });
        }
    }
    Ok(ExtensionPlace::NotKnown)
}

/// Whether `path`, in `/etc`, is a link that the image has there: Flatcar's, which lie in the lower
/// directory of its overlay on `/etc`, come and go with the image.
fn is_images_own(host: &Host, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix("/etc") else {
        return false;
    };
    let target = |path: &Path| fs::read_link(host.path(&path.to_string_lossy())).ok();
    let images = target(&Path::new("/usr/share/flatcar/etc").join(below));
    images.is_some() && images == target(path)
}

/// Where a walk along a path ends.
enum WalkEnd {
    /// There is no such file.
    Nowhere,
    /// At this absolute path, without links; the rest of it may be unseen, see [`WalkLimit`].
    To(PathBuf),
}

/// Whether what is in `/usr` is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WalkLimit {
    AtUsr,
    Never,
}

/// Follows the absolute path `path`, with the links on its way, where `lies` says at which path of
/// ours an absolute path lies.
fn walk(lies: impl Fn(&Path) -> PathBuf, path: &Path, stop: WalkLimit) -> io::Result<WalkEnd> {
    let parts = |path: &Path| -> Vec<_> {
        let parts = path.components().rev();
        parts.map(|part| part.as_os_str().to_owned()).collect()
    };
    let (mut at, mut rest, mut links) = (PathBuf::from("/"), parts(path), 0);
    while let Some(part) = rest.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                at.pop();
            }
            Some(Component::Normal(name)) => at.push(name),
            _ => continue,
        }
        if stop == WalkLimit::AtUsr && at == Path::new("/usr") {
            at.extend(rest.iter().rev());
            return Ok(WalkEnd::To(at));
        }
        let found = match fs::symlink_metadata(lies(&at)) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(WalkEnd::Nowhere);
            }
            found => found?,
        };
        if found.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(rustix::io::Errno::LOOP.into());
            }
            rest.extend(parts(&fs::read_link(lies(&at))?));
            at.pop();
        }
    }
    Ok(WalkEnd::To(at))
}

/// What the extension says of itself: in the merged tree, under its own name; or in its directory,
/// under any name that its author allows. None if neither has it.
fn release(host: &Host, class: ExtensionClass, name: &str, path: &Path) -> io::Result<Option<OsRelease>> {
    let merged = format!("{}/extension-release.{name}", class.release_directory());
    let text = host.read(&merged).map_err(|error| error.source)?;
    let text = match text {
        Some(text) => Some(text),
        None => renamed(host, class, path)?,
    };
    // What systemd refuses was not merged either; that it was says that the file has changed.
    Ok(text.and_then(|text| OsRelease::parse(&text, None).ok()))
}

/// The only file of another name in an extension's directory that may have one.
fn renamed(host: &Host, class: ExtensionClass, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let directory = class.release_directory().trim_start_matches('/');
    let directory = host.path(&path.to_string_lossy()).join(directory);
    let entries = match fs::read_dir(directory) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut value = [0; 8];
        let is_free = getxattr(&path, STRICT, &mut value[..]).is_ok_and(|len| {
            matches!(
                value.get(..len),
                Some(b"0" | b"no" | b"false" | b"off" | b"n" | b"f")
            )
        });
        if name.starts_with("extension-release.") && is_free {
            found.push(path);
        }
    }
    match found.as_slice() {
        [path] => fs::read(path).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Node {
        root: tempfile::TempDir,
        host: Host,
    }

    impl Node {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let host = Host::new(root.path().join("host"));
            Self { root, host }
        }

        fn write(&self, path: &str, text: &str) -> &Self {
            let path = self.host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn link(&self, path: &str, target: &str) -> &Self {
            let path = self.host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
            self
        }

        /// As systemd would show it in the mount table.
        fn merge(&self, name: &str) -> &Self {
            let table = include_str!("../../tests/fixtures/mountinfo/merged.txt");
            let of_it = format!("/extensions/{name}/");
            self.write(
                "/proc/self/mountinfo",
                &table.replace("/extensions/docker/", &of_it),
            )
        }

        /// Name and fate of what is merged.
        fn merged(&self) -> Vec<(String, UnderAnotherImage)> {
            let merged = merged(&self.host, "/var/lib/update_engine/extensions").unwrap();
            merged
                .into_iter()
                .map(|extension| (extension.name, extension.under_another_image))
                .collect()
        }

        fn fate(&self, name: &str) -> UnderAnotherImage {
            self.merge(name);
            let (_, fate) = self.merged().pop().unwrap();
            fate
        }
    }

    #[test]
    fn what_the_operator_keeps_outside_of_usr_stays_the_same() {
        let node = Node::new();
        node.write("/opt/extensions/k8s-1.29.raw", "DDI")
            .link("/etc/extensions/k8s.raw", "../../opt/extensions/k8s-1.29.raw")
            .write(
                "/usr/lib/extension-release.d/extension-release.k8s",
                "ID=flatcar\nSYSEXT_LEVEL=1.0\n",
            );
        let UnderAnotherImage::Same(Some(release)) = node.fate("k8s") else {
            panic!("{:?}", node.merged());
        };
        assert_eq!(release.get("SYSEXT_LEVEL"), Some("1.0"));
    }

    #[test]
    fn what_the_image_the_initrd_or_the_engine_put_there_is_not_judged() {
        let node = Node::new();
        node.link(
            "/etc/extensions/docker.raw",
            "/usr/share/flatcar/sysext/docker.raw",
        )
        .link("/lib", "usr/lib")
        .link("/etc/extensions/libs", "/lib/extensions/libs")
        .write("/etc/flatcar/sysext/flatcar-zfs-1.raw", "DDI")
        .link(
            "/etc/extensions/flatcar-zfs.raw",
            "/etc/flatcar/sysext/flatcar-zfs-1.raw",
        )
        .write("/oem/sysext/oem-azure-1.raw", "DDI")
        .link("/etc/extensions/oem-azure.raw", "/oem/sysext/oem-azure-1.raw")
        .write("/var/lib/update_engine/extensions/1/own.raw", "DDI")
        .link(
            "/run/extensions/own.raw",
            "/var/lib/update_engine/extensions/1/own.raw",
        )
        .write("/run/extensions/today.raw", "DDI");
        let of_image = |path: &str| UnderAnotherImage::OfImage(path.into());
        assert_eq!(
            node.fate("docker"),
            of_image("/usr/share/flatcar/sysext/docker.raw")
        );
        assert_eq!(node.fate("libs"), of_image("/usr/lib/extensions/libs"));
        for name in ["flatcar-zfs", "oem-azure", "own", "today", "gone"] {
            assert_eq!(node.fate(name), UnderAnotherImage::NotKnown, "{name}");
        }
    }

    #[test]
    fn a_file_of_another_name_counts_where_its_author_allows_it() {
        let node = Node::new();
        let file = "/var/lib/extensions/renamed/usr/lib/extension-release.d/extension-release.original";
        node.write(file, "ID=_any\n");
        assert_eq!(node.fate("renamed"), UnderAnotherImage::Same(None));
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(node.host.path(file), STRICT, b"0", flags).is_err() {
            // This file system has no such attributes.
            return;
        }
        assert!(matches!(node.fate("renamed"), UnderAnotherImage::Same(Some(_))));
    }

    #[test]
    fn a_configuration_extension_is_found_by_its_own_directories() {
        let node = Node::new();
        let table = include_str!("../../tests/fixtures/mountinfo/confext.txt");
        let lines = table.lines().filter(|line| !line.contains(" sysext "));
        let table: String = lines.flat_map(|line| [line, "\n"]).collect();
        node.write("/proc/self/mountinfo", &table)
            .write("/var/lib/confexts/site/etc/x", "")
            .write("/etc/extension-release.d/extension-release.site", "ID=_any\n");
        let found = merged(&node.host, "/none").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].class, ExtensionClass::Configuration);
        assert!(matches!(
            found[0].under_another_image,
            UnderAnotherImage::Same(Some(_))
        ));
    }

    #[test]
    fn a_path_is_looked_up_in_the_new_image() {
        let node = Node::new();
        let image = node.root.path().join("image");
        fs::create_dir_all(image.join("share/flatcar/sysext")).unwrap();
        fs::write(image.join("share/flatcar/sysext/docker-2.raw"), "DDI").unwrap();
        symlink("docker-2.raw", image.join("share/flatcar/sysext/docker.raw")).unwrap();
        symlink("/usr/share/flatcar/sysext/docker.raw", image.join("absolute")).unwrap();
        symlink("/usr/circle", image.join("circle")).unwrap();
        node.write("/usr/only-in-the-old-one", "");
        let is_there = |path: &str| {
            let found = path_in_image(&node.host, &image, Path::new(path));
            found.map(|found| found.is_some())
        };
        assert!(is_there("/usr/share/flatcar/sysext/docker.raw").unwrap());
        assert!(is_there("/usr/absolute").unwrap());
        assert!(!is_there("/usr/only-in-the-old-one").unwrap());
        assert!(!is_there("/usr/share/flatcar/sysext/podman.raw").unwrap());
        assert!(is_there("/usr/circle").is_err());
    }
}
