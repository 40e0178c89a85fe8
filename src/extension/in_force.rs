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

use super::image_signature::ImageSignature;
use super::merged_release::{ChangeTime, StayingExtension, change_time};
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
    /// It stays the same.
    Same(SameExtension),
    /// It stays the same, and what it says of itself can't be told; with the reason.
    NotTold(String),
    /// The image's file at this absolute path, if it has one.
    OfImage(PathBuf),
    /// Another one, or none: whoever puts it there decides with the image.
    NotKnown,
}

/// An extension that stays the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SameExtension {
    /// What it says of itself; none if it says nothing that systemd reads.
    pub release: Option<OsRelease>,
    /// The signatures of its images that have one, or why one can't be read. Of a directory of
    /// versions, those of all.
    pub signatures: Vec<Result<ImageSignature, String>>,
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
            let found_there = place(host, class, &name, of_versions).map(|place| match place {
                ExtensionPlace::Stays(there) => {
                    is_versioned = there.is_versioned();
                    there.under_another_image(host, class, &name)
                }
                ExtensionPlace::OfImage(path) => UnderAnotherImage::OfImage(path),
                ExtensionPlace::NotKnown => UnderAnotherImage::NotKnown,
            });
            // One that can't be told must not hide the others.
            let under_another_image =
                found_there.unwrap_or_else(|error| UnderAnotherImage::NotTold(error.to_string()));
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
        WalkEnd::To(found, _) => Some(lies(&found)),
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
    Stays(StayingExtension),
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
            let (path, newest_link) = match walk(lies, &path, WalkLimit::AtUsr)? {
                WalkEnd::Nowhere => continue,
                WalkEnd::To(path, newest_link) => (path, newest_link),
            };
            let is_below = |directory: &str| path.starts_with(directory);
            if is_of_one_version(&path) || is_below(of_versions) {
                return Ok(ExtensionPlace::NotKnown);
            }
            return Ok(match () {
                () if is_below("/usr") => ExtensionPlace::OfImage(path),
                () if is_below("/run") => ExtensionPlace::NotKnown,
                () => ExtensionPlace::Stays(StayingExtension { path, newest_link }),
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
pub(super) enum WalkEnd {
    /// There is no such file.
    Nowhere,
    /// At this absolute path, without links; the rest of it may be unseen, see [`WalkLimit`]. With
    /// the time of the last change of a link on the way.
    To(PathBuf, Option<ChangeTime>),
}

/// Whether what is in `/usr` is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WalkLimit {
    AtUsr,
    Never,
}

/// Follows the absolute path `path`, with the links on its way, where `lies` says at which path of
/// ours an absolute path lies.
pub(super) fn walk(lies: impl Fn(&Path) -> PathBuf, path: &Path, stop: WalkLimit) -> io::Result<WalkEnd> {
    let parts = |path: &Path| -> Vec<_> {
        let parts = path.components().rev();
        parts.map(|part| part.as_os_str().to_owned()).collect()
    };
    let (mut at, mut rest) = (PathBuf::from("/"), parts(path));
    let (mut links, mut newest) = (0, None);
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
            return Ok(WalkEnd::To(at, newest));
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
            newest = newest.max(Some(change_time(&found)));
            if links > MOST_LINKS {
                return Err(rustix::io::Errno::LOOP.into());
            }
            rest.extend(parts(&fs::read_link(lies(&at))?));
            at.pop();
        }
    }
    Ok(WalkEnd::To(at, newest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::merged_release::STRICT;
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

        /// As systemd would show it in the mount table, merged now.
        fn merge(&self, name: &str) -> &Self {
            let table = include_str!("../../tests/fixtures/mountinfo/merged.txt");
            let of_it = format!("/extensions/{name}/");
            self.write(
                "/proc/self/mountinfo",
                &table.replace("/extensions/docker/", &of_it),
            )
            .write("/usr/.systemd-sysext/dev", "0:45\n")
        }

        /// The merge was before all that was done to files.
        fn merged_long_ago(&self) -> &Self {
            let marker = fs::File::open(self.host.path("/usr/.systemd-sysext/dev")).unwrap();
            marker.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            self
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
        assert_eq!(sameness(node.fate("k8s"), "SYSEXT_LEVEL").as_deref(), Some("1.0"));
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
        // systemd merges it no more.
        assert_eq!(node.fate("renamed"), silent());
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(node.host.path(file), STRICT, b"0", flags).is_err() {
            // This file system has no such attributes.
            return;
        }
        assert_eq!(sameness(node.fate("renamed"), "ID").as_deref(), Some("_any"));
    }

    /// Of an extension that says nothing.
    fn silent() -> UnderAnotherImage {
        UnderAnotherImage::Same(SameExtension::default())
    }

    fn sameness(fate: UnderAnotherImage, key: &str) -> Option<String> {
        match fate {
            UnderAnotherImage::Same(same) => same.release?.get(key).map(str::to_owned),
            UnderAnotherImage::NotTold(why) => Some(why),
            fate => panic!("{fate:?}"),
        }
    }

    #[test]
    fn an_image_that_was_changed_since_it_was_merged_is_not_judged_by_what_it_was() {
        let release = "/usr/lib/extension-release.d/extension-release.k8s";
        let node = || {
            let node = Node::new();
            node.write("/opt/k8s-1.raw", "DDI")
                .link("/etc/extensions/k8s.raw", "/opt/k8s-1.raw")
                .write(release, "ID=merged\n")
                .merge("k8s");
            node
        };
        let told = |node: &Node| {
            let (_, fate) = node.merged().pop().unwrap();
            sameness(fate, "ID").unwrap()
        };
        assert_eq!(told(&node()), "merged");
        // Image and link are newer than the merge.
        let changed = node();
        changed.merged_long_ago();
        assert_eq!(
            told(&changed),
            "/opt/k8s-1.raw was changed after systemd merged it"
        );
        let nobody_knows = node();
        fs::remove_file(nobody_knows.host.path("/usr/.systemd-sysext/dev")).unwrap();
        assert_eq!(told(&nobody_knows), "nothing says when systemd merged it");
    }

    /// The image is as old as the merge.
    #[test]
    fn a_link_that_was_changed_since_leads_to_another_image() {
        let node = Node::new();
        let release = "/usr/lib/extension-release.d/extension-release.k8s";
        node.write("/opt/k8s-2.raw", "DDI").write(release, "ID=merged\n");
        let merged = fs::metadata(node.host.path("/opt/k8s-2.raw")).unwrap();
        // Files are stamped by a clock that goes in steps.
        let link = node.host.path("/etc/extensions/k8s.raw");
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        loop {
            let _ = fs::remove_file(&link);
            symlink("/opt/k8s-2.raw", &link).unwrap();
            if change_time(&fs::symlink_metadata(&link).unwrap()) > change_time(&merged) {
                break;
            }
        }
        node.merge("k8s");
        let marker = fs::File::open(node.host.path("/usr/.systemd-sysext/dev")).unwrap();
        marker.set_modified(merged.modified().unwrap()).unwrap();
        let (_, fate) = node.merged().pop().unwrap();
        assert_eq!(
            sameness(fate, "ID").unwrap(),
            "/opt/k8s-2.raw was changed after systemd merged it"
        );
    }

    #[test]
    fn a_directory_is_judged_by_what_it_says_now() {
        let node = Node::new();
        let own = "/var/lib/extensions/tools/usr/lib/extension-release.d/extension-release.tools";
        node.write(
            "/usr/lib/extension-release.d/extension-release.tools",
            "ID=merged\n",
        )
        .write(own, "ID=now\n")
        .merge("tools")
        .merged_long_ago();
        let fate = || node.merged().pop().unwrap().1;
        assert_eq!(sameness(fate(), "ID").as_deref(), Some("now"));
        // A link in it leads to its own files.
        fs::remove_file(node.host.path(own)).unwrap();
        node.link(own, "/usr/share/release")
            .write("/usr/share/release", "ID=of-the-host\n")
            .write("/var/lib/extensions/tools/usr/share/release", "ID=linked\n");
        assert_eq!(sameness(fate(), "ID").as_deref(), Some("linked"));
        fs::remove_file(node.host.path(own)).unwrap();
        assert_eq!(fate(), silent(), "says nothing any more");
        // Masked since.
        node.write("/etc/extensions/tools/x", "");
        fs::remove_file(node.host.path("/etc/extensions/tools/x")).unwrap();
        assert_eq!(fate(), UnderAnotherImage::NotKnown);
    }

    #[test]
    fn a_directory_of_versions_is_judged_while_nothing_was_added() {
        let node = Node::new();
        node.write("/var/lib/extensions/k8s.raw.v/k8s_1.raw", "DDI")
            .write(
                "/usr/lib/extension-release.d/extension-release.k8s",
                "ID=merged\n",
            )
            .merge("k8s");
        let fate = || node.merged().pop().unwrap().1;
        assert_eq!(sameness(fate(), "ID").as_deref(), Some("merged"));
        node.write("/var/lib/extensions/k8s.raw.v/k8s_2/x", "");
        assert!(matches!(fate(), UnderAnotherImage::NotTold(_)));
    }

    #[test]
    fn a_configuration_extension_is_found_by_its_own_directories() {
        let node = Node::new();
        let table = include_str!("../../tests/fixtures/mountinfo/confext.txt");
        let lines = table.lines().filter(|line| !line.contains(" sysext "));
        let table: String = lines.flat_map(|line| [line, "\n"]).collect();
        node.write("/proc/self/mountinfo", &table)
            .write("/etc/extension-release.d/extension-release.site", "ID=_any\n")
            .write("/var/lib/confexts/site.raw", "DDI")
            .write("/etc/.systemd-confext/dev", "0:46\n");
        let found = merged(&node.host, "/none").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].class, ExtensionClass::Configuration);
        let fate = found[0].under_another_image.clone();
        assert_eq!(sameness(fate, "ID").as_deref(), Some("_any"));
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
