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

/// Installs what is missing, or names it where that can't be done.
pub fn require() -> Outcome {
    let mut missing: Vec<&str> = NEEDED
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
