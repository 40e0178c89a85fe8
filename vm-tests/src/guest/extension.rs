//! Extensions of every node: one of `/usr`, which brings a unit, and one of `/etc`.
//!
//! They lie on the root partition, and systemd merges them at each boot. The first is an image, as
//! most are. The second is a directory, merged the way of current Flatcar: the real `/etc` is the
//! overlay's upper directory, and stays writable. systemd 252 knows only the first kind.

use std::path::Path;

use anyhow::Result;

use super::filesystem;
use super::packages::Debian;
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

/// Has systemd look at its units once more after it has merged extensions of `/usr`, where it doesn't
/// do so by itself: as Flatcar's `ensure-sysext.service` does.
const RELOAD: (&str, &[u8]) = (
    "vm-reload.service",
    b"[Unit]\nDefaultDependencies=no\nBindsTo=systemd-sysext.service\nAfter=systemd-sysext.service\n\
      Before=sysinit.target\n\
      [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=systemctl daemon-reload\n\
      ExecStart=systemctl restart --no-block multi-user.target\n[Install]\nWantedBy=sysinit.target\n",
);

/// Puts them into a root partition's tree, for a system with this os-release.
pub(super) fn add_to(tree: &Path, os_release: &str, debian: Debian) -> Result<()> {
    let fits: String = os_release
        .lines()
        .filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_ID="))
        .flat_map(|line| [line, "\n"])
        .collect();
    of_usr(tree, &fits)?;
    if !debian.has_confexts() {
        let (name, unit) = RELOAD;
        let system = tree.join("etc/systemd/system");
        files::write(&system.join(name), unit)?;
        let wanted = system.join("sysinit.target.wants").join(name);
        return files::link(&format!("/etc/systemd/system/{name}"), &wanted);
    }
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
