//! Tools of the host. An error names the tool, its arguments and its output.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

/// Tools and the Debian packages that contain them.
const PACKAGES: [(&str, &str); 19] = [
    ("unshare", "util-linux"),
    ("git", "git"),
    ("tar", "tar"),
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mformat", "mtools"),
    ("mcopy", "mtools"),
    ("mdel", "mtools"),
    ("objcopy", "binutils"),
    ("objdump", "binutils"),
    ("sgdisk", "gdisk"),
    ("cgpt", "cgpt"),
    ("openssl", "openssl"),
    ("etcd", "etcd-server"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("aarch64-linux-gnu-objcopy", "binutils-aarch64-linux-gnu"),
    ("aarch64-linux-gnu-objdump", "binutils-aarch64-linux-gnu"),
];

/// A command that is about to run.
pub(crate) fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// A command that sees the files of the current user as root's.
pub(crate) fn as_root(name: &str) -> Command {
    if is_root() {
        return tool(name);
    }
    let mut command = tool("unshare");
    command.args(["--map-root-user", "--", name]);
    command
}

/// Whether this runs as root.
pub(crate) fn is_root() -> bool {
    // Where this cannot be read, it is the tools that say what is amiss.
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Error that names the package of a missing tool.
pub(crate) fn missing(name: &OsStr, error: std::io::Error) -> anyhow::Error {
    if error.kind() != ErrorKind::NotFound {
        return anyhow!(error).context(format!("cannot start {}", name.display()));
    }
    let package = PACKAGES.iter().find(|(tool, _)| *tool == name).map_or_else(
        || name.to_string_lossy().into_owned(),
        |(_, package)| (*package).to_owned(),
    );
    anyhow!("{} is not installed: apt-get install {package}", name.display())
}

/// Runs `command` to its end and returns its output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return Err(missing(command.get_program(), error)),
    };
    if !output.status.success() {
        bail!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed no UTF-8"))
}
