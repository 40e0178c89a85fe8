//! Hangs of a release, and the deadline that ends them.

use std::path::Path;

use anyhow::Result;

use crate::files;

/// Who arms the trial deadline of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// Nobody: none is set.
    Off,
    /// Its unit.
    InSystem,
    /// Its initrd, before that.
    InInitrd,
}

/// Where a release stops for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hang {
    /// In the initrd, once the slot is mounted.
    Initrd,
    /// There, and the process that keeps the deadline is stopped: softdog is left.
    Keeper,
    /// There, and nothing runs any more: the kernel has panicked, and doesn't reset. A hardware watchdog is left.
    Kernel,
    /// In a unit before `sysinit.target`.
    Sysinit,
    /// In the merge of the extensions of `/etc`.
    Confext,
    /// In a unit that never becomes active, for which the daemon waits.
    Unit,
    /// The daemon ends at once, each time that it is started.
    Daemon,
    /// The daemon is stopped by a signal once it has started.
    DaemonStopped,
    /// systemd freezes before the daemon starts.
    Systemd,
}

/// Seconds since the boot, by the guest's clock: enough for a boot.
pub(crate) const SECONDS: u32 = 240;

const UNIT: &str = "update-engine-trial-deadline.service";
const UNIT_FILE: &[u8] = include_bytes!("../../../systemd/update-engine-trial-deadline.service");
/// systemd leaves the watchdog to the deadline.
pub(super) const NO_WATCHDOG: (&str, &[u8]) = (
    "lib/systemd/system.conf.d/zz-no-watchdog.conf",
    b"[Manager]\nRuntimeWatchdogSec=off\n",
);

/// The journal doesn't tell a systemd that has crashed that it is alive: it fails, and says so every 90 s, so that the
/// machine of a control run would never be silent.
const QUIET_JOURNAL: (&str, &str) = (
    "systemd-journald.service.d/quiet.conf",
    "[Service]\nWatchdogSec=0\n",
);

impl Deadline {
    /// Lines of the image's configuration.
    pub(super) fn settings(self, hang: Option<Hang>) -> String {
        match (self, hang) {
            (Self::Off, _) => String::new(),
            // It is busy, and the watchdog comes two minutes later.
            (_, Some(Hang::Kernel)) => {
                "HEALTH_DEADLINE=60\nTRIAL_DEADLINE=120\nTRIAL_DEADLINE_WATCHDOG=hardware\n".to_owned()
            }
            (Self::InSystem | Self::InInitrd, _) => {
                format!("HEALTH_DEADLINE=150\nTRIAL_DEADLINE={SECONDS}\n")
            }
        }
    }

    /// What the initrd does.
    pub(super) fn in_initrd(self, hang: Option<Hang>) -> &'static str {
        match (self, hang) {
            (Self::InInitrd, Some(Hang::Initrd)) => "armed stop",
            (Self::InInitrd, Some(Hang::Keeper)) => "armed softdog stop",
            (Self::InInitrd, Some(Hang::Kernel)) => "armed panic",
            (Self::InInitrd, _) => "armed",
            (_, Some(Hang::Initrd | Hang::Keeper)) => "stop",
            (_, Some(Hang::Kernel)) => "panic",
            _ => "",
        }
    }

    /// Adds the program and its unit to the tree of a slot.
    pub(super) fn add_to(self, slot: &Path) -> Result<()> {
        files::link("update_engine", &slot.join("sbin/update-engine-trial-deadline"))?;
        let units = slot.join("lib/systemd/system");
        files::write(&units.join(UNIT), UNIT_FILE)?;
        if self == Self::Off {
            return Ok(());
        }
        let (path, contents) = NO_WATCHDOG;
        files::write(&slot.join(path), contents)?;
        let link = units.join("sysinit.target.wants").join(UNIT);
        files::link(&format!("../{UNIT}"), &link)
    }
}

impl Hang {
    /// Adds what hangs to the tree of a slot.
    pub(super) fn add_to(self, slot: &Path) -> Result<()> {
        let units = slot.join("lib/systemd/system");
        let (path, contents, target) = match self {
            Self::Initrd | Self::Keeper | Self::Kernel => return Ok(()),
            Self::Sysinit => (
                "vm-stuck.service",
                "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n\
                 [Service]\nType=oneshot\nTimeoutStartSec=infinity\n\
                 ExecStart=sh -c 'echo guest: a unit hangs >/dev/console; exec sleep infinity'\n",
                Some("sysinit.target"),
            ),
            Self::Confext => (
                // After the drop-in of the root partition, which has a name in `/etc`.
                "systemd-confext.service.d/zz-hang.conf",
                "[Service]\nTimeoutStartSec=infinity\nExecStart=\n\
                 ExecStart=sh -c 'echo guest: the merge hangs >/dev/console; exec sleep infinity'\n",
                None,
            ),
            Self::Unit => (
                "vm-stuck.service",
                "[Unit]\nBefore=update-engine.service\n\
                 [Service]\nType=notify\nTimeoutStartSec=infinity\n\
                 ExecStart=sh -c 'echo guest: a unit never becomes active >/dev/console; exec sleep infinity'\n",
                Some("multi-user.target"),
            ),
            Self::DaemonStopped => (
                "vm-stop.service",
                "[Unit]\nAfter=update-engine.service\n\
                 [Service]\nType=oneshot\n\
                 ExecStart=sh -c 'systemctl kill -s STOP update-engine && echo guest: the daemon is stopped >/dev/console'\n",
                Some("multi-user.target"),
            ),
            Self::Daemon => (
                "update-engine.service.d/broken.conf",
                // Its sandbox has no console. systemd gives up after a while, or the machine of a control run, which
                // nothing ends, would never be silent.
                "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=3\n[Service]\nExecStart=\nExecStart=false\n",
                None,
            ),
            Self::Systemd => (
                "vm-freeze.service",
                "[Unit]\nBefore=update-engine.service\nAfter=vm-app.service\n\
                 [Service]\nType=oneshot\nExecStart=sh -c 'echo guest: systemd freezes >/dev/console; kill -SEGV 1'\n",
                Some("multi-user.target"),
            ),
        };
        files::write(&units.join(path), contents.as_bytes())?;
        if self == Self::Systemd {
            let (path, contents) = QUIET_JOURNAL;
            files::write(&units.join(path), contents.as_bytes())?;
        }
        if let Some(target) = target {
            let link = units.join(format!("{target}.wants")).join(path);
            files::link(&format!("../{path}"), &link)?;
        }
        Ok(())
    }
}
