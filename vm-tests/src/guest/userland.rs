//! Root partition, which belongs to no slot: `/etc`, `/var`, the extensions, and mount points.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::packages::Packages;
use super::{extension, filesystem, units};
use crate::architecture::Architecture;
use crate::command::{run, tool};
use crate::files;

/// Bytes of its filesystem.
pub(crate) const ROOT_LEN: u64 = 128 << 20;

/// Long enough for an emulated processor that shares its host.
const TIMEOUTS: (&str, &[u8]) = (
    "etc/systemd/system.conf.d/vm.conf",
    b"[Manager]\nRuntimeWatchdogSec=300\nDefaultTimeoutStartSec=300\nDefaultDeviceTimeoutSec=300\n",
);
/// Files of ours below `/etc`, of the initrd's with systemd as well.
const OURS: [(&str, &[u8]); 2] = [
    // The rest of what a machine has is of no interest here, and each event costs time.
    (
        "etc/systemd/system/systemd-udev-trigger.service.d/vm.conf",
        b"[Service]\nExecStart=\nExecStart=-udevadm trigger --action=add --subsystem-match=block \
          --subsystem-match=virtio-ports --subsystem-match=net\n",
    ),
    ("etc/machine-id", b"3d1219c7c4c5404aaa1f6d2a48adfda4\n"),
];

/// The account and the group that the bus policy names.
const ACCOUNTS: [(&str, &str); 2] = [
    ("etc/passwd", "core:x:500:500::/home/core:/bin/sh\n"),
    ("etc/group", "update-engine:x:501:\n"),
];

/// Directories of the packages that are not in the root partition: a release brings its own.
const OF_A_RELEASE: [&str; 2] = ["usr", "kernel"];

/// The root partition's filesystem.
pub(super) fn image(cache: &Path, packages: &Packages) -> Result<PathBuf> {
    let scratch = tempfile::tempdir_in(cache)?;
    let tree = scratch.path().join("tree");
    populate(&tree, packages)?;
    let image = cache.join(format!("root-{}.img", packages.debian.version()));
    filesystem::image(&image, &tree, "ext4", ROOT_LEN)?;
    Ok(image)
}

/// Has the system below `tree` look at few devices, and tell its journal to the console.
pub(super) fn quieten(tree: &Path, architecture: Architecture) -> Result<()> {
    for (path, contents) in OURS {
        files::write(&tree.join(path), contents)?;
    }
    let journal = format!(
        "[Journal]\nStorage=volatile\nForwardToConsole=yes\nTTYPath=/dev/{}\nMaxLevelConsole=info\n",
        architecture.console()
    );
    files::write(
        &tree.join("etc/systemd/journald.conf.d/vm.conf"),
        journal.as_bytes(),
    )
}

fn populate(tree: &Path, packages: &Packages) -> Result<()> {
    let (userland, debian) = (packages.userland(), packages.debian);
    fs::create_dir(tree)?;
    for entry in fs::read_dir(userland).with_context(|| format!("cannot list {}", userland.display()))? {
        let entry = entry?;
        if !OF_A_RELEASE.iter().any(|name| entry.file_name() == *name) {
            run(tool("cp").arg("-a").arg(entry.path()).arg(tree))?;
        }
    }
    for directory in ["usr", "boot", "oem"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    let (manager, timeouts) = TIMEOUTS;
    files::write(&tree.join(manager), timeouts)?;
    quieten(tree, packages.architecture)?;
    for (file, line) in ACCOUNTS {
        let path = tree.join(file);
        let mut lines = files::read(&path)?;
        lines.extend(line.as_bytes());
        files::write(&path, &lines)?;
    }
    let os_release =
        fs::read_to_string(userland.join("usr/lib/os-release")).context("the userland has no os-release")?;
    extension::add_to(tree, &os_release, debian)?;
    units::arrange(tree, debian)
}
