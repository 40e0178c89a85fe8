//! Extensions of every node: one of `/usr`, which brings a unit, and one of `/etc`.
//!
//! They lie on the root partition, and systemd merges them at each boot. The first is an image, as
//! most are. The second is a directory, merged the way of current Flatcar: the real `/etc` is the
//! overlay's upper directory, and stays writable.

use std::path::Path;

use anyhow::Result;

use super::filesystem;
use crate::files;

/// Unit that the extension of `/usr` brings.
pub(crate) const UNIT: &str = "vm-extension.service";
/// File that the extension of `/etc` brings, and its contents.
pub(crate) const SETTING: (&str, &str) = ("/etc/vm-settings.conf", "brought=by the extension\n");

const UNIT_FILE: &[u8] = include_bytes!("../../guest/vm-extension.service");
/// As extensions have their units started: the system has planned its start before they are merged.
const UPHOLD: &[u8] = b"[Unit]\nUpholds=vm-extension.service\n";
const PROGRAM: &[u8] = b"#!/bin/sh\necho 'the extension runs'\n";
const LEN: u64 = 1 << 20;

/// Has systemd merge extensions of `/etc` in the manner described above.
const MUTABLE: &[u8] = b"[Service]\nExecStart=\nExecStart=systemd-confext --mutable=yes refresh\n";

/// Puts both into a root partition's tree, for a system with this os-release.
pub(super) fn add_to(tree: &Path, os_release: &str) -> Result<()> {
    let fits: String = os_release
        .lines()
        .filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_ID="))
        .flat_map(|line| [line, "\n"])
        .collect();
    of_usr(tree, &fits)?;
    let etc = tree.join("var/lib/confexts/vm-settings/etc");
    files::write(
        &etc.join("extension-release.d/extension-release.vm-settings"),
        fits.as_bytes(),
    )?;
    let (path, contents) = SETTING;
    files::write(&etc.join(path.trim_start_matches("/etc/")), contents.as_bytes())?;
    files::link("/etc", &tree.join("var/lib/extensions.mutable/etc"))?;
    files::write(
        &tree.join("etc/systemd/system/systemd-confext.service.d/mutable.conf"),
        MUTABLE,
    )
}

fn of_usr(tree: &Path, fits: &str) -> Result<()> {
    let contents = tempfile::tempdir_in(tree)?;
    let usr = |path: &str| contents.path().join("usr").join(path);
    // systemd is to look at its units anew once it is merged.
    files::write(
        &usr("lib/extension-release.d/extension-release.vm-extension"),
        format!("{fits}EXTENSION_RELOAD_MANAGER=1\n").as_bytes(),
    )?;
    files::write(&usr("lib/systemd/system").join(UNIT), UNIT_FILE)?;
    files::write(
        &usr("lib/systemd/system/multi-user.target.d/10-vm-extension.conf"),
        UPHOLD,
    )?;
    files::program(&usr("libexec/vm-extension"), PROGRAM)?;
    let images = tree.join("var/lib/extensions");
    std::fs::create_dir_all(&images)?;
    filesystem::image(&images.join("vm-extension.raw"), contents.path(), "ext4", LEN)
}
