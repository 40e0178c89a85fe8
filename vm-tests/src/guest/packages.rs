//! Debian's part, through apt: fetched once, kept until `target` is cleaned.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::{run, tool};

/// What the userland has beyond Debian's essential packages.
const USERLAND: &str = "systemd,systemd-sysv,dbus,udev,kmod,util-linux,mount,busybox-static";
/// Never needed in a test, half of the size.
const LEFT_OUT: [&str; 4] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
];

/// Files from Debian's packages.
pub(super) struct Packages {
    /// Unpacked kernel and EFI stub.
    directory: PathBuf,
    /// The userland, as an archive.
    pub(super) userland: PathBuf,
}

impl Packages {
    /// Fetches what isn't there yet.
    pub(super) fn get(cache: &Path) -> Result<Self> {
        let packages = Self {
            directory: cache.join("packages"),
            userland: cache.join("userland.tar"),
        };
        if !packages.directory.exists() {
            fetch_kernel(cache, &packages.directory)?;
        }
        if !packages.userland.exists() {
            fetch_userland(cache, &packages.userland)?;
        }
        Ok(packages)
    }

    /// The kernel itself.
    pub(super) fn kernel(&self) -> Result<PathBuf> {
        only_child(&self.directory.join("boot"), "vmlinuz-")
    }

    /// Its modules.
    pub(super) fn modules(&self) -> Result<PathBuf> {
        Ok(only_child(&self.directory.join("lib/modules"), "")?.join("kernel"))
    }

    /// Makes one EFI application of a kernel and its initrd.
    pub(super) fn stub(&self) -> PathBuf {
        self.directory.join("usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    }
}

fn fetch_kernel(cache: &Path, directory: &Path) -> Result<()> {
    eprintln!("fetching a kernel from Debian");
    let depends = run(tool("apt-cache").args(["depends", "linux-image-amd64"]))?;
    let Some(image) = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
    else {
        bail!("apt knows no kernel behind linux-image-amd64 (apt-get update?):\n{depends}");
    };
    let fetched = tempfile::tempdir_in(cache)?;
    let mut download = tool("apt-get");
    // Apt's own unprivileged user can't write into our directory.
    download.args([
        "-o",
        "APT::Sandbox::User=root",
        "download",
        image,
        "systemd-boot-efi",
    ]);
    run(download.current_dir(fetched.path()))?;
    let unpacked = fetched.path().join("unpacked");
    for entry in fs::read_dir(fetched.path())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(tool("dpkg-deb").arg("-x").arg(&path).arg(&unpacked))?;
        }
    }
    fs::rename(&unpacked, directory).context("cannot keep the kernel")
}

fn fetch_userland(cache: &Path, archive: &Path) -> Result<()> {
    eprintln!("fetching a userland from Debian (about a minute)");
    let fetched = tempfile::tempdir_in(cache)?;
    let tar = fetched.path().join("userland.tar");
    let mut bootstrap = tool("mmdebstrap");
    bootstrap
        .args(["--quiet", "--variant=essential", "--include", USERLAND])
        .args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg("bookworm")
        .arg(&tar);
    run(&mut bootstrap)?;
    fs::rename(&tar, archive).context("cannot keep the userland")
}

fn only_child(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(entry.path());
        }
    }
    bail!("{} holds no {prefix}*", directory.display())
}
