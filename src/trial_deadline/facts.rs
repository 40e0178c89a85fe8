//! The facts that the decision is made from, read at the moment of each use.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::boot_partition::{self, Kernel, is_exhaustion};
use super::daemon_start::{DaemonStart, is_masked};
use super::systemd_watchdog::SystemdWatchdog;
use super::watchdog::{self, NoWatchdog, WATCHDOG_DELAY, Wanted, WatchdogFacts};
use crate::config::{TrialDeadlineFlaw, TrialDeadlineSettings};
use crate::disk::{DiskError, SlotAttributes, SlotDisk, SlotName};
use crate::host::{Host, Unreadable};

const UNIT: &str = "update-engine-trial-deadline.service";
/// By which the system starts the unit that arms.
const WANTS: [&str; 2] = [
    "/etc/systemd/system/sysinit.target.wants/update-engine-trial-deadline.service",
    "/usr/lib/systemd/system/sysinit.target.wants/update-engine-trial-deadline.service",
];

/// How the kernel of a slot is looked at.
type KernelLook = fn(&Host, &SlotDisk, SlotName) -> Kernel;

/// What the decision is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The deadlines that are set.
    pub settings: TrialDeadlineSettings,
    /// Boot attributes of the running and the other slot.
    pub slots: BothSlots,
    /// The other slot's kernel; not looked at where the slots alone keep everything from being armed.
    pub kernel: Kernel,
    /// Whether somebody would mark the slot good.
    pub daemon: DaemonStart,
    /// Time from the boot to the daemon's first start, if it has started.
    pub daemon_started: Option<Duration>,
    /// The machine's watchdogs.
    pub watchdogs: Vec<WatchdogFacts>,
    /// systemd's use of one of them.
    pub systemd: SystemdWatchdog,
}

/// Both slots, by the table on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BothSlots {
    /// The running slot, and its attributes.
    pub running: (SlotName, SlotAttributes),
    /// The other slot, likewise.
    pub other: (SlotName, SlotAttributes),
}

/// Why nothing can be decided.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The settings can't be read.
    #[error("the deadline is not known")]
    Settings(#[from] Unreadable),
    /// The slots can't be read.
    #[error("the slots are not known")]
    Disk(#[from] DiskError),
    /// There is no thread to look in.
    #[error("no thread can be started")]
    Thread(#[source] io::Error),
    /// Disk or systemd doesn't answer.
    #[error("nothing was found out within {0} s")]
    TimedOut(u64),
}

impl FactsError {
    /// Whether nothing has answered, and not with an error either: a machine that has nothing left to ask with
    /// is as silent.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Thread(_) | Self::TimedOut(_)) || is_exhaustion(self)
    }
}

impl BothSlots {
    fn of(disk: &SlotDisk) -> Result<Self, DiskError> {
        let slot = |slot| Ok::<_, DiskError>((slot, disk.attributes(slot)?));
        Ok(Self {
            running: slot(disk.running())?,
            other: slot(!disk.running())?,
        })
    }

    /// Reads the table. Blocks, perhaps for ever.
    pub(super) fn read(host: &Host) -> Result<Self, DiskError> {
        Self::of(&SlotDisk::discover(host)?)
    }
}

impl Facts {
    /// Reads them. Nothing but the settings is read where no deadline is set. Blocks, perhaps for
    /// ever.
    pub(super) fn read(host: &Host) -> Result<Option<Self>, FactsError> {
        Self::read_by(host, boot_partition::kernel)
    }

    /// The same for a caller that only asks, and mounts nothing: see [`boot_partition::kernel_if_mounted`].
    pub(super) fn read_without_mounting(host: &Host) -> Result<Option<Self>, FactsError> {
        Self::read_by(host, boot_partition::kernel_if_mounted)
    }

    fn read_by(host: &Host, look: KernelLook) -> Result<Option<Self>, FactsError> {
        let settings = TrialDeadlineSettings::load(|path| host.read(path))?;
        if settings.trial.is_none() {
            return Ok(None);
        }
        let disk = SlotDisk::discover(host)?;
        let slots = BothSlots::of(&disk)?;
        Ok(Some(Self::around(host, settings, &disk, slots, look)))
    }

    /// The same for an armed deadline that has come: `tell` gets the slots, whatever becomes of the
    /// rest.
    pub(super) fn read_slots_first(
        host: &Host,
        tell: impl FnOnce(BothSlots),
    ) -> Result<Option<Self>, FactsError> {
        let disk = SlotDisk::discover(host)?;
        let slots = BothSlots::of(&disk)?;
        tell(slots);
        let settings = TrialDeadlineSettings::load(|path| host.read(path))?;
        if settings.trial.is_none() {
            return Ok(None);
        }
        let look = boot_partition::kernel;
        Ok(Some(Self::around(host, settings, &disk, slots, look)))
    }

    fn around(
        host: &Host,
        settings: TrialDeadlineSettings,
        disk: &SlotDisk,
        slots: BothSlots,
        look: KernelLook,
    ) -> Self {
        // The look may mount the boot partition, at which a mount by others could fail: not without need.
        let kernel = if slots.lead_back() {
            look(host, disk, slots.other.0)
        } else {
            Kernel::NotLookedAt
        };
        Self {
            settings,
            slots,
            kernel,
            daemon: DaemonStart::look(host),
            daemon_started: host.first_start(),
            watchdogs: WatchdogFacts::all(host),
            systemd: SystemdWatchdog::read(host),
        }
    }

    /// The watchdog that would be armed for `least`.
    pub(super) fn watchdog(&self, least: Duration) -> Result<PathBuf, NoWatchdog> {
        let wanted = Wanted {
            least,
            choice: self.settings.watchdog,
            systemd: &self.systemd,
        };
        watchdog::choose(&self.watchdogs, &wanted)
    }
}

/// Who would end a hang of a new slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HangEnd {
    /// Since the boot.
    deadline: Duration,
    /// Node of the watchdog behind the process.
    watchdog: Result<PathBuf, NoWatchdog>,
}

impl fmt::Display for HangEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deadline = self.deadline.as_secs();
        write!(f, "a hang ends {deadline} s after the boot, by a process")?;
        match &self.watchdog {
            Ok(node) => write!(f, " and {}", node.display()),
            Err(none) => write!(f, " alone: {none}"),
        }
    }
}

/// Why nobody would end a hang of a new slot although a deadline is set, or that is not known.
#[derive(Debug, thiserror::Error)]
pub enum NoHangEnd {
    /// The settings can't be read.
    #[error(transparent)]
    Settings(#[from] Unreadable),
    /// The deadline can't be used.
    #[error("nobody would end a hang: {0}")]
    Flawed(TrialDeadlineFlaw),
    /// No target wants the unit that arms.
    #[error("nobody would end a hang: nothing starts {UNIT}")]
    NotStarted,
    /// It is masked.
    #[error("nobody would end a hang: {UNIT} is masked")]
    Masked,
}

/// Who would end a hang of a new slot whose image is as the running one. Nothing where no deadline is
/// set.
///
/// # Errors
/// [`NoHangEnd`].
pub fn on_next_trial(host: &Host) -> Result<Option<HangEnd>, NoHangEnd> {
    let settings = TrialDeadlineSettings::load(|path| host.read(path))?;
    let Some(deadline) = settings.usable().map_err(NoHangEnd::Flawed)? else {
        return Ok(None);
    };
    let is_wanted = |wants: &str| host.path(wants).symlink_metadata().is_ok();
    if !WANTS.into_iter().any(is_wanted) {
        return Err(NoHangEnd::NotStarted);
    }
    if is_masked(host, UNIT) {
        return Err(NoHangEnd::Masked);
    }
    let wanted = Wanted {
        least: deadline.saturating_add(WATCHDOG_DELAY),
        choice: settings.watchdog,
        systemd: &SystemdWatchdog::read(host),
    };
    let watchdog = watchdog::choose(&WatchdogFacts::all(host), &wanted);
    Ok(Some(HangEnd { deadline, watchdog }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn before_an_update_it_is_told_who_would_end_a_hang_and_where_nobody_would() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let write = |path: &str, text: &str| {
            let path = host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let told = || match on_next_trial(&host) {
            Ok(end) => end.map(|end| Ok(end.to_string())),
            Err(error) => Some(Err(error.to_string())),
        };
        assert_eq!(told(), None);
        let settings = "/etc/flatcar/update.conf";
        write(settings, "TRIAL_DEADLINE=600\n");
        let nobody = |why: &str| Some(Err(format!("nobody would end a hang: {why}")));
        let flaw = "TRIAL_DEADLINE=600 is not later than HEALTH_DEADLINE and HEALTH_SETTLE together (645 s)";
        assert_eq!(told(), nobody(flaw));
        write(settings, "TRIAL_DEADLINE=900\n");
        assert_eq!(told(), nobody(&format!("nothing starts {UNIT}")));
        write(WANTS[1], "");
        assert_eq!(
            told().unwrap().unwrap(),
            "a hang ends 900 s after the boot, by a process alone: there is no watchdog"
        );
        let softdog = "/sys/class/watchdog/watchdog0";
        write(&format!("{softdog}/identity"), "Software Watchdog\n");
        write(&format!("{softdog}/state"), "inactive\n");
        assert_eq!(
            told().unwrap().unwrap(),
            "a hang ends 900 s after the boot, by a process and /dev/watchdog0"
        );
        fs::create_dir_all(host.path("/etc/systemd/system")).unwrap();
        symlink("/dev/null", host.path("/etc/systemd/system").join(UNIT)).unwrap();
        assert_eq!(told(), nobody(&format!("{UNIT} is masked")));
    }
}
