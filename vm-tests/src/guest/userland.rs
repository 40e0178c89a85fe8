//! The root partition: Debian's userland beside the slot, with our daemon in it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::packages::Packages;
use super::{filesystem, fingerprint, units};
use crate::command::{run, tool};
use crate::files;

/// Bytes of the root partition's filesystem.
pub(crate) const ROOT_LEN: u64 = 384 << 20;

/// Files of ours in the root partition. Debian's `/usr` lives in `/system`.
const OURS: [(&str, &[u8]); 9] = [
    (
        "system/lib/systemd/system/vm-shell.service",
        include_bytes!("../../guest/vm-shell.service"),
    ),
    (
        "system/lib/systemd/system/vm-app.service",
        include_bytes!("../../guest/vm-app.service"),
    ),
    (
        "system/lib/systemd/system/update-engine.service",
        include_bytes!("../../../systemd/update-engine.service"),
    ),
    (
        "system/lib/systemd/system/update-engine-postinst.service.d/limits.conf",
        include_bytes!("../../../systemd/update-engine-postinst.conf"),
    ),
    (
        "system/share/dbus-1/system.d/com.coreos.update1.conf",
        include_bytes!("../../../dbus/com.coreos.update1.conf"),
    ),
    (
        "etc/systemd/journald.conf.d/vm.conf",
        b"[Journal]\nStorage=volatile\nForwardToConsole=yes\nTTYPath=/dev/ttyS0\nMaxLevelConsole=info\n",
    ),
    // Long enough for an emulated processor that shares its host.
    (
        "etc/systemd/system.conf.d/vm.conf",
        b"[Manager]\nRuntimeWatchdogSec=120\nDefaultTimeoutStartSec=300\n",
    ),
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

const SHELL: &[u8] = include_bytes!("../../guest/shell");

/// The root partition's filesystem, with the daemon as it is built now.
pub(super) fn image(repository: &Path, cache: &Path, packages: &Packages) -> Result<PathBuf> {
    let (daemon, client) = binaries(repository)?;
    let recipe = packages.recipe();
    let mut parts: Vec<&[u8]> = vec![&daemon, &client, SHELL, recipe.as_bytes()];
    parts.extend(OURS.iter().map(|(_, contents)| *contents));
    parts.extend(ACCOUNTS.iter().map(|(_, line)| line.as_bytes()));
    for name in units::all() {
        parts.push(name.as_bytes());
    }
    let image = cache.join(format!("root-{}.img", fingerprint(&parts)));
    if !image.exists() {
        let tree = tempfile::tempdir_in(cache)?;
        populate(tree.path(), packages.userland(), &daemon, &client)?;
        let fresh = cache.join("root.fresh");
        filesystem::image(&fresh, tree.path(), "ext4", ROOT_LEN)?;
        forget_older(cache)?;
        fs::rename(&fresh, &image).context("cannot keep the root partition")?;
    }
    Ok(image)
}

/// The daemon and its client from the workspace, without what only a debugger wants.
fn binaries(repository: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    Ok((
        binary(repository, "update_engine")?,
        binary(repository, "update_engine_client")?,
    ))
}

/// Static: the guest's C library may be older than the host's.
fn binary(repository: &Path, name: &str) -> Result<Vec<u8>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = std::process::Command::new(cargo);
    build
        .current_dir(repository)
        .args(["rustc", "-q", "-p", "update-engine", "--bin", name])
        .args(["--", "-C", "target-feature=+crt-static"]);
    run(&mut build).with_context(|| format!("{name} does not build"))?;
    let target = repository.join("target");
    let file = tempfile::NamedTempFile::new_in(&target)?;
    let mut strip = tool("objcopy");
    strip
        .arg("--strip-all")
        .arg(target.join("debug").join(name))
        .arg(file.path());
    run(&mut strip)?;
    files::read(file.path())
}

fn populate(tree: &Path, userland: &Path, daemon: &[u8], client: &[u8]) -> Result<()> {
    run(tool("cp").arg("-a").arg(userland.join(".")).arg(tree))?;
    // The kernel is part of a release.
    run(tool("rm").arg("-rf").arg(tree.join("kernel")))?;
    fs::rename(tree.join("usr"), tree.join("system"))?;
    for directory in ["usr", "boot", "oem"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    for (path, contents) in OURS {
        files::write(&tree.join(path), contents)?;
    }
    files::program(&tree.join("system/libexec/vm-shell"), SHELL)?;
    files::program(&tree.join("system/sbin/update_engine"), daemon)?;
    files::program(&tree.join("system/bin/update_engine_client"), client)?;
    for (file, line) in ACCOUNTS {
        let path = tree.join(file);
        let mut lines = files::read(&path)?;
        lines.extend(line.as_bytes());
        files::write(&path, &lines)?;
    }
    units::arrange(tree)
}

/// Images with an earlier daemon: hundreds of megabytes each.
fn forget_older(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("root-") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Gives a slot what it doesn't replace: links to the root partition.
pub(super) fn link_into_slot(userland: &Path, slot: &Path) -> Result<()> {
    for directory in ["bin", "sbin", "lib", "lib64", "libexec"] {
        files::link(&format!("../system/{directory}"), &slot.join(directory))?;
    }
    let share = userland.join("usr/share");
    for entry in fs::read_dir(&share).with_context(|| format!("cannot list {}", share.display()))? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        files::link(
            &format!("../../system/share/{name}"),
            &slot.join("share").join(&*name),
        )?;
    }
    Ok(())
}
