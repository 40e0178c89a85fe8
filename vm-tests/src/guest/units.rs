//! Which units of the userland run: ours, and of Debian's those that a node needs. Each costs time
//! without virtualisation.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::packages::Debian;
use crate::files;

/// Units that start with the system, after what wants them.
const ENABLED: [(&str, &str); 5] = [
    ("multi-user.target", "update-engine.service"),
    ("multi-user.target", "vm-shell.service"),
    ("multi-user.target", "vm-app.service"),
    ("sysinit.target", "systemd-sysext.service"),
    ("sysinit.target", CONFEXT),
];
const CONFEXT: &str = "systemd-confext.service";
/// Units for what no guest has or wants.
const MASKED: [&str; 41] = [
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "kmod-static-nodes.service",
    "ldconfig.service",
    "modprobe@.service",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@ttyAMA0.service",
    "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hostnamed.socket",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-modules-load.service",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "systemd-sysusers.service",
    "systemd-timesyncd.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-done.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
];
/// The same for programs that would make such units at each boot.
const NO_GENERATORS: [&str; 14] = [
    "systemd-bless-boot-generator",
    "systemd-cryptsetup-generator",
    "systemd-debug-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-rc-local-generator",
    "systemd-run-generator",
    "systemd-ssh-generator",
    "systemd-system-update-generator",
    "systemd-sysv-generator",
    "systemd-tpm2-generator",
    "systemd-veritysetup-generator",
];

/// Enables and masks in the system below `tree`.
pub(super) fn arrange(tree: &Path, debian: Debian) -> Result<()> {
    let system = tree.join("etc/systemd/system");
    let is_there = |unit: &str| unit != CONFEXT || debian.has_confexts();
    for (target, unit) in ENABLED.into_iter().filter(|(_, unit)| is_there(unit)) {
        let link = system.join(format!("{target}.wants")).join(unit);
        files::link(&format!("/usr/lib/systemd/system/{unit}"), &link)?;
    }
    mask(tree)
}

/// Masks what no guest has or wants in the system below `tree`.
pub(super) fn mask(tree: &Path) -> Result<()> {
    let system = tree.join("etc/systemd/system");
    let generators = tree.join("etc/systemd/system-generators");
    let masked = MASKED.iter().map(|unit| system.join(unit));
    for path in masked.chain(NO_GENERATORS.iter().map(|name| generators.join(name))) {
        // Debian may have enabled it.
        let _ = fs::remove_file(&path);
        files::link("/dev/null", &path)?;
    }
    Ok(())
}
