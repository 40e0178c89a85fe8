//! What the decision is made from, read at the moment of each use.

use std::io;

use super::boot_partition;
use super::daemon_start::DaemonStart;
use super::keeper::WATCHDOG_DELAY;
use super::runtime_watchdog::systemd_feeds_first;
use super::watchdog::{self, WatchdogFacts};
use crate::config::TrialDeadlineSettings;
use crate::disk::{DiskError, SlotAttributes, SlotDisk, SlotName};
use crate::host::{Host, Unreadable};
use crate::journal::chain;

/// By which the system starts the unit that arms.
const WANTS: [&str; 2] = [
    "/etc/systemd/system/sysinit.target.wants/update-engine-trial-deadline.service",
    "/usr/lib/systemd/system/sysinit.target.wants/update-engine-trial-deadline.service",
];

/// What the decision is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The deadlines that are set.
    pub settings: TrialDeadlineSettings,
    /// The running slot, and its attributes on the medium.
    pub running: (SlotName, SlotAttributes),
    /// The other slot, likewise.
    pub other: (SlotName, SlotAttributes),
    /// Why the other slot's kernel can't be relied on, if it can't.
    pub missing_kernel: Option<String>,
    /// Whether somebody would mark the slot good.
    pub daemon: DaemonStart,
    /// The machine's watchdogs.
    pub watchdogs: Vec<WatchdogFacts>,
    /// Whether systemd has or will have the first of them.
    pub systemd_feeds_first: bool,
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

impl Facts {
    /// Reads them. Nothing but the settings is read where no deadline is set. Blocks, perhaps for
    /// ever.
    pub(super) fn read(host: &Host) -> Result<Option<Self>, FactsError> {
        let settings = TrialDeadlineSettings::load(|path| host.read(path))?;
        if settings.trial.is_none() {
            return Ok(None);
        }
        let disk = SlotDisk::discover(host)?;
        let slot = |slot| Ok::<_, DiskError>((slot, disk.attributes(slot)?));
        let (running, other) = (slot(disk.running())?, slot(!disk.running())?);
        Ok(Some(Self {
            settings,
            running,
            other,
            missing_kernel: boot_partition::missing_kernel(host, &disk, other.0),
            daemon: DaemonStart::look(host),
            watchdogs: WatchdogFacts::all(host),
            systemd_feeds_first: systemd_feeds_first(host),
        }))
    }
}

/// Who would end a hang of a new slot whose image is as the running one: a sentence, as an error
/// where nobody would. Nothing where no deadline is set.
#[must_use]
pub fn on_next_trial(host: &Host) -> Option<Result<String, String>> {
    let settings = match TrialDeadlineSettings::load(|path| host.read(path)) {
        Ok(settings) => settings,
        Err(error) => return Some(Err(chain(&error))),
    };
    let deadline = match settings.usable() {
        Ok(None) => return None,
        Err(flaw) => return Some(Err(format!("nobody would end a hang: {flaw}"))),
        Ok(Some(deadline)) => deadline,
    };
    let is_wanted = |wants: &str| host.path(wants).symlink_metadata().is_ok();
    if !WANTS.into_iter().any(is_wanted) {
        let why = "nobody would end a hang: nothing starts update-engine-trial-deadline.service";
        return Some(Err(why.to_owned()));
    }
    let least = deadline.saturating_add(WATCHDOG_DELAY);
    let chosen = watchdog::choose(&WatchdogFacts::all(host), least, systemd_feeds_first(host));
    let process = format!(
        "a hang ends {} s after the boot, by a process",
        deadline.as_secs()
    );
    Some(match chosen {
        Ok(node) => Ok(format!("{process} and {}", node.display())),
        Err(why) => Ok(format!("{process} alone: {why}")),
    })
}
