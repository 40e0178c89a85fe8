//! Which units of the userland run: ours, and of Debian's those that a node needs. Each costs time without
//! virtualisation.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::files;

/// Units that start with the system.
const ENABLED: [&str; 3] = ["update-engine.service", "vm-shell.service", "vm-app.service"];
/// Units for what no guest has or wants.
const MASKED: [&str; 28] = [
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "getty@tty1.service",
    "kmod-static-nodes.service",
    "modprobe@.service",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-modules-load.service",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "systemd-sysusers.service",
    "systemd-timesyncd.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
];
/// The same for programs that would make such units at each boot.
const NO_GENERATORS: [&str; 10] = [
    "systemd-bless-boot-generator",
    "systemd-cryptsetup-generator",
    "systemd-debug-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-rc-local-generator",
    "systemd-system-update-generator",
    "systemd-veritysetup-generator",
];

/// All names: what a root partition depends on.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    ENABLED.into_iter().chain(MASKED).chain(NO_GENERATORS)
}

/// Enables and masks in the system below `tree`.
pub(super) fn arrange(tree: &Path) -> Result<()> {
    let system = tree.join("etc/systemd/system");
    for unit in ENABLED {
        let link = system.join("multi-user.target.wants").join(unit);
        files::link(&format!("/usr/lib/systemd/system/{unit}"), &link)?;
    }
    let generators = tree.join("etc/systemd/system-generators");
    let masked = MASKED.iter().map(|unit| system.join(unit));
    for path in masked.chain(NO_GENERATORS.iter().map(|name| generators.join(name))) {
        // Debian may have enabled it.
        let _ = fs::remove_file(&path);
        files::link("/dev/null", &path)?;
    }
    Ok(())
}
