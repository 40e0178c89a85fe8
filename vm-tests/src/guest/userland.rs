//! The root partition: Debian's userland beside the slot, with our daemon in it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::packages::Packages;
use super::{fingerprint, release};
use crate::command::{run, tool};
use crate::files;

/// Bytes of the root partition's filesystem.
pub(crate) const ROOT_LEN: u64 = 384 << 20;

/// Files of ours in the root partition. Debian's `/usr` lives in `/system`.
const OURS: [(&str, &[u8]); 8] = [
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
        b"[Manager]\nRuntimeWatchdogSec=60\nDefaultTimeoutStartSec=300\n",
    ),
    ("etc/machine-id", b"3d1219c7c4c5404aaa1f6d2a48adfda4\n"),
];

const SHELL: &[u8] = include_bytes!("../../guest/shell");

/// Units that start with the system.
const ENABLED: [&str; 3] = ["update-engine.service", "vm-shell.service", "vm-app.service"];
/// Units that only cost time here.
const MASKED: [&str; 8] = [
    "systemd-networkd.service",
    "systemd-networkd-wait-online.service",
    "systemd-timesyncd.service",
    "systemd-firstboot.service",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "apt-daily.timer",
    "systemd-update-utmp.service",
];

/// Where the userland is unpacked, as `/usr` of the packages has it.
pub(super) fn unpacked(cache: &Path) -> PathBuf {
    cache.join("userland")
}

/// The root partition's filesystem, with the daemon as it is built now.
pub(super) fn image(repository: &Path, cache: &Path, packages: &Packages) -> Result<PathBuf> {
    unpack(&unpacked(cache), &packages.userland)?;
    let (daemon, client) = binaries(repository)?;
    let mut parts: Vec<&[u8]> = vec![&daemon, &client, SHELL];
    parts.extend(OURS.iter().map(|(_, contents)| *contents));
    let image = cache.join(format!("root-{}.img", fingerprint(&parts)));
    if !image.exists() {
        let tree = tempfile::tempdir_in(cache)?;
        populate(tree.path(), &unpacked(cache), &daemon, &client)?;
        let fresh = cache.join("root.fresh");
        release::filesystem(&fresh, tree.path(), "ext4", ROOT_LEN)?;
        forget_older(cache)?;
        fs::rename(&fresh, &image).context("cannot keep the root partition")?;
    }
    Ok(image)
}

/// Device nodes, which the guest's kernel makes itself; and Perl, which only Debian's own scripts need, while
/// the userland is put together.
const NOT_UNPACKED: [&str; 3] = ["./dev/*", "./usr/lib/*/perl/*", "./usr/share/perl/*"];

fn unpack(tree: &Path, archive: &Path) -> Result<()> {
    if tree.exists() {
        return Ok(());
    }
    if run(tool("id").arg("-u"))?.trim() != "0" {
        bail!("the guest's files belong to root: run this as root");
    }
    let fresh = tree.with_extension("fresh");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh)?;
    run(tool("tar")
        .arg("-C")
        .arg(&fresh)
        .args(NOT_UNPACKED.map(|path| format!("--exclude={path}")))
        .arg("-xf")
        .arg(archive))?;
    fs::rename(&fresh, tree).context("cannot keep the userland")
}

/// The daemon and its client from the workspace, without what only a debugger wants.
fn binaries(repository: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = std::process::Command::new(cargo);
    build
        .current_dir(repository)
        .args(["build", "-q", "-p", "update-engine", "--bins"]);
    run(&mut build).context("the daemon does not build")?;
    let stripped = |name: &str| -> Result<Vec<u8>> {
        let target = repository.join("target");
        let file = tempfile::NamedTempFile::new_in(&target)?;
        let mut strip = tool("objcopy");
        strip
            .arg("--strip-all")
            .arg(target.join("debug").join(name))
            .arg(file.path());
        run(&mut strip)?;
        files::read(file.path())
    };
    Ok((stripped("update_engine")?, stripped("update_engine_client")?))
}

fn populate(tree: &Path, userland: &Path, daemon: &[u8], client: &[u8]) -> Result<()> {
    run(tool("cp").arg("-a").arg(userland.join(".")).arg(tree))?;
    fs::rename(tree.join("usr"), tree.join("system"))?;
    for directory in ["usr", "boot", "oem"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    // Large, and looked up for hardware that a guest doesn't have.
    for unused in [
        "system/lib/udev/hwdb.bin",
        "system/lib/udev/hwdb.d",
        "var/cache/apt",
        "var/lib/apt",
    ] {
        run(tool("rm").arg("-rf").arg(tree.join(unused)))?;
    }
    for (path, contents) in OURS {
        files::write(&tree.join(path), contents)?;
    }
    files::program(&tree.join("system/libexec/vm-shell"), SHELL)?;
    files::program(&tree.join("system/sbin/update_engine"), daemon)?;
    files::program(&tree.join("system/bin/update_engine_client"), client)?;
    // The account that the bus policy names.
    let accounts = tree.join("etc/passwd");
    let mut passwd = files::read(&accounts)?;
    passwd.extend(b"core:x:500:500::/home/core:/bin/sh\n");
    files::write(&accounts, &passwd)?;
    units(tree)
}

fn units(tree: &Path) -> Result<()> {
    let system = tree.join("etc/systemd/system");
    for unit in ENABLED {
        let link = system.join("multi-user.target.wants").join(unit);
        files::link(&format!("/usr/lib/systemd/system/{unit}"), &link)?;
    }
    for unit in MASKED {
        let _ = fs::remove_file(system.join(unit));
        files::link("/dev/null", &system.join(unit))?;
    }
    Ok(())
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
pub(super) fn link_into_slot(cache: &Path, slot: &Path) -> Result<()> {
    for directory in ["bin", "sbin", "lib", "lib64", "libexec"] {
        files::link(&format!("../system/{directory}"), &slot.join(directory))?;
    }
    let share = unpacked(cache).join("usr/share");
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
