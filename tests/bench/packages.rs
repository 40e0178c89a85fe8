//! What has to be installed beside us.

use std::process::{Command, Stdio};

use super::Outcome;

/// A program, and the Debian package that brings it.
const NEEDED: [(&str, &str); 17] = [
    ("bsdiff", "bsdiff"),
    ("bzip2", "bzip2"),
    ("cmp", "diffutils"),
    ("cpio", "cpio"),
    ("dbus-daemon", "dbus"),
    ("e2image", "e2fsprogs"),
    ("fincore", "util-linux-extra"),
    ("lbzip2", "lbzip2"),
    ("mke2fs", "e2fsprogs"),
    ("mksquashfs", "squashfs-tools"),
    ("openssl", "openssl"),
    ("pzstd", "zstd"),
    ("rauc", "rauc"),
    ("split", "coreutils"),
    ("swupdate", "swupdate"),
    ("time", "time"),
    ("zstd", "zstd"),
];

/// Likewise, to measure content payloads.
const NEEDED_FOR_CONTENT: [(&str, &str); 12] = [
    ("casync", "casync"),
    ("cmp", "diffutils"),
    ("dpkg-deb", "dpkg"),
    ("fincore", "util-linux-extra"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.erofs", "erofs-utils"),
    ("mksquashfs", "squashfs-tools"),
    ("openssl", "openssl"),
    ("time", "time"),
    ("veritysetup", "cryptsetup-bin"),
    ("zck_delta_size", "zchunk"),
];

/// Installs what is missing, or names it where that can't be done.
pub fn require() -> Outcome {
    install(&NEEDED)
}

/// Likewise, for content payloads.
pub fn require_content() -> Outcome {
    install(&NEEDED_FOR_CONTENT)
}

fn install(needed: &[(&str, &'static str)]) -> Outcome {
    let mut missing: Vec<&str> = needed
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() || !is_installed("apt-get") {
        return Err(format!("needs these packages (Debian's names): {}", missing.join(" ")).into());
    }
    println!("installing {}", missing.join(" "));
    apt(&["update", "-qq"])?;
    apt(&[
        &["install", "-y", "-qq", "--no-install-recommends"],
        missing.as_slice(),
    ]
    .concat())
}

fn is_installed(program: &str) -> bool {
    let places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"];
    places
        .iter()
        .any(|place| std::path::Path::new(place).join(program).exists())
}

fn apt(arguments: &[&str]) -> Outcome {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("apt-get ended with {status}").into())
}
