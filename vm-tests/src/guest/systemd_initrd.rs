//! Initrd with systemd, made of the userland's packages, as mkosi-initrd makes one: systemd mounts the slot by the
//! kernel's command line, runs the unit that arms the trial deadline, and switches to the root partition.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::cpio::{Archive, Kind};
use super::hang::Hang;
use super::packages::Packages;
use super::release::Recipe;
use super::{initrd, units, userland};
use crate::command::{run, tool};
use crate::files;

/// Where the lines are that image builders take over.
const DOCUMENTATION: &str = include_str!("../../../docs/deadline.md");
/// What the documentation calls the unit.
const ARMS: &str = "update-engine-trial-deadline-initrd.service";
const UNITS: &str = "etc/systemd/system";
const WANTS: &str = "etc/systemd/system/initrd.target.wants";

/// Files of ours.
const OURS: [(&str, &str); 3] = [
    (
        "etc/systemd/system/vm-drivers.service",
        "[Unit]\nDefaultDependencies=no\nBefore=systemd-udevd.service systemd-udev-trigger.service\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/load-drivers\n",
    ),
    // As a generator would write it for `root=PARTLABEL=ROOT`.
    (
        "etc/systemd/system/sysroot.mount",
        "[Unit]\nBefore=initrd-root-fs.target\n\
         [Mount]\nWhat=/dev/disk/by-partlabel/ROOT\nWhere=/sysroot\nType=ext4\nOptions=rw\n",
    ),
    // Long enough for an emulated processor that shares its host.
    (
        "etc/systemd/system.conf.d/vm.conf",
        "[Manager]\nDefaultTimeoutStartSec=300\nDefaultDeviceTimeoutSec=300\n",
    ),
];
/// Units of ours, and what wants them.
const WANTED: [(&str, &str); 2] = [
    ("sysinit.target.wants", "vm-drivers.service"),
    ("initrd-root-fs.target.requires", "sysroot.mount"),
];
/// systemd's own from version 258 on, as far as its place in the boot goes: the userland's is older.
const MERGE: (&str, &str) = (
    "systemd-confext-sysroot.service",
    "[Unit]\nDefaultDependencies=no\nAfter=sysroot.mount sysroot-usr.mount\nBefore=initrd-root-fs.target\n\
     [Service]\nType=oneshot\nTimeoutStartSec=infinity\n\
     ExecStart=sh -c 'echo guest: the merge hangs >/dev/console; exec sleep infinity'\n",
);

/// The initrd of `release`, below `cache`.
pub(super) fn image(
    cache: &Path,
    packages: &Packages,
    release: &str,
    recipe: &Recipe<'_>,
) -> Result<PathBuf> {
    let scratch = tempfile::tempdir_in(cache)?;
    let tree = scratch.path();
    populate(tree, packages, release, recipe)?;
    let mut archive = Archive::default();
    add_directory(&mut archive, tree, "")?;
    initrd::add_modules(&mut archive, packages)?;
    initrd::compressed(cache, &archive.finish())
}

fn populate(tree: &Path, packages: &Packages, release: &str, recipe: &Recipe<'_>) -> Result<()> {
    let system = packages.userland();
    for directory in ["dev", "modules", "proc", "run", "sys", "sysroot", "tmp", "var"] {
        fs::create_dir(tree.join(directory))?;
    }
    for name in ["bin", "lib", "lib64", "sbin", "usr"] {
        run(tool("cp").arg("-a").arg(system.join(name)).arg(tree))?;
    }
    for name in ["passwd", "group", "nsswitch.conf"] {
        let path = Path::new("etc").join(name);
        files::write(&tree.join(&path), &files::read(&system.join(&path))?)?;
    }
    // By this systemd knows that it runs in an initrd.
    files::link("../usr/lib/os-release", &tree.join("etc/initrd-release"))?;
    files::link("usr/lib/systemd/systemd", &tree.join("init"))?;
    files::program(
        &tree.join("load-drivers"),
        include_bytes!("../../guest/load-drivers"),
    )?;
    files::write(&tree.join("release"), release.as_bytes())?;
    userland::quieten(tree, packages.architecture)?;
    units::mask(tree)?;
    for (path, contents) in OURS {
        files::write(&tree.join(path), contents.as_bytes())?;
    }
    for (wants, unit) in WANTED {
        files::link(&format!("../{unit}"), &tree.join(UNITS).join(wants).join(unit))?;
    }
    add_unit(tree, ARMS, &documented_unit()?)?;
    if recipe.hang == Some(Hang::Initrd) {
        let (merge, contents) = MERGE;
        add_unit(tree, merge, contents)?;
    }
    Ok(())
}

/// A unit that the initrd's target wants.
fn add_unit(tree: &Path, unit: &str, contents: &str) -> Result<()> {
    files::write(&tree.join(UNITS).join(unit), contents.as_bytes())?;
    files::link(&format!("../{unit}"), &tree.join(WANTS).join(unit))
}

/// The unit in the documentation: its only block of that kind.
fn documented_unit() -> Result<String> {
    let block = DOCUMENTATION
        .split_once("```ini\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    let (lines, _) = block.context("docs/deadline.md has no unit")?;
    Ok(lines.lines().flat_map(|line| [line.trim(), "\n"]).collect())
}

/// Adds what is below `tree`, at `path` in the initrd, in the order of names.
fn add_directory(archive: &mut Archive, tree: &Path, path: &str) -> Result<()> {
    let directory = tree.join(path);
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    for name in names {
        let path = if path.is_empty() {
            name
        } else {
            format!("{path}/{name}")
        };
        let file = tree.join(&path);
        let metadata = fs::symlink_metadata(&file)?;
        if metadata.is_dir() {
            archive.add(Kind::Directory, &path, &[]);
            add_directory(archive, tree, &path)?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(&file)?;
            archive.add(Kind::Link, &path, target.to_string_lossy().as_bytes());
        } else {
            let may_run = metadata.permissions().mode() & 0o111 != 0;
            let kind = if may_run { Kind::Program } else { Kind::File };
            archive.add(kind, &path, &files::read(&file)?);
        }
    }
    Ok(())
}
