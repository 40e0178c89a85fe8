//! Watchdogs: those that the kernel has, the choice of one, and one that is armed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::systemd_watchdog::SystemdWatchdog;
use crate::config::WatchdogChoice;
use crate::disk::{disable_watchdog, feed_watchdog, set_watchdog_timeout};
use crate::host::Host;
use crate::journal::chain;

/// How much later than the process the watchdog resets: the process looks for a minute, speaks for
/// its patience with disk and systemd, looks once more, and resets.
pub(super) const WATCHDOG_DELAY: Duration = Duration::from_secs(120);
const CLASS: &str = "/sys/class/watchdog";
/// softdog's name for itself. It is the kernel's own: a kernel that stands still doesn't run it.
const SOFTDOG: &str = "Software Watchdog";

/// A watchdog, as sysfs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogFacts {
    /// As in `/dev/watchdog0`.
    pub number: u32,
    /// The driver's name for it.
    pub identity: String,
    /// Whether a process has it open, or had and didn't stop it.
    pub is_open: bool,
    /// The longest time-out that it takes, if the driver says.
    pub longest: Option<Duration>,
    /// Whether it can be stopped once it runs.
    pub can_be_stopped: bool,
}

impl WatchdogFacts {
    /// All that there are; none if the kernel shows none.
    pub(super) fn all(host: &Host) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(host.path(CLASS)) else {
            return Vec::new();
        };
        let mut all: Vec<_> = entries
            .flatten()
            .filter_map(|entry| Self::of(&entry.path()))
            .collect();
        all.sort_by_key(|watchdog| watchdog.number);
        all
    }

    fn of(directory: &Path) -> Option<Self> {
        let name = directory.file_name()?.to_str()?;
        let number = name.strip_prefix("watchdog")?.parse().ok()?;
        let read = |attribute: &str| {
            let text = fs::read_to_string(directory.join(attribute)).ok()?;
            Some(text.trim().to_owned())
        };
        let longest = read("max_timeout").and_then(|text| text.parse().ok());
        Some(Self {
            number,
            identity: read("identity").unwrap_or_default(),
            is_open: read("state").is_none_or(|state| state != "inactive"),
            // 0: the driver sets no limit.
            longest: longest.filter(|&seconds| seconds > 0).map(Duration::from_secs),
            can_be_stopped: read("nowayout").as_deref() == Some("0"),
        })
    }

    fn node(&self) -> PathBuf {
        PathBuf::from(format!("/dev/watchdog{}", self.number))
    }

    /// Whether the watchdog at `node` runs; also if that can't be told.
    pub(super) fn runs(host: &Host, node: &Path) -> bool {
        let all = Self::all(host);
        all.iter()
            .find(|watchdog| watchdog.node() == node)
            .is_none_or(|watchdog| watchdog.is_open)
    }

    fn is_soft(&self) -> bool {
        self.identity == SOFTDOG
    }

    /// Why it can't be used, if it can't.
    fn obstacle(&self, wanted: &Wanted<'_>) -> Option<WatchdogObstacle> {
        let node = self.node();
        if self.is_open {
            return Some(WatchdogObstacle::InUse(node));
        }
        if let Some(claim) = wanted.systemd.claims(self.number) {
            return Some(WatchdogObstacle::Claimed { node, claim });
        }
        if wanted.choice == WatchdogChoice::Softdog && !self.is_soft() {
            return Some(WatchdogObstacle::ForOthers {
                node,
                identity: self.identity.clone(),
            });
        }
        let longest = self.longest.filter(|&longest| longest < wanted.least)?;
        Some(WatchdogObstacle::TooShort {
            node,
            longest,
            least: wanted.least,
        })
    }
}

/// Why a watchdog can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchdogObstacle {
    /// Somebody has it, or had and didn't stop it.
    #[error("{} is in use", .0.display())]
    InUse(PathBuf),
    /// systemd has or will have it.
    #[error("{} is {claim}", node.display())]
    Claimed {
        /// The watchdog's device node.
        node: PathBuf,
        /// What systemd has it for.
        claim: String,
    },
    /// It is hardware, which is taken only where configuration says so.
    #[error("{} ({identity}) is for others unless TRIAL_DEADLINE_WATCHDOG=hardware", node.display())]
    ForOthers {
        /// The watchdog's device node.
        node: PathBuf,
        /// The driver's name for it.
        identity: String,
    },
    /// It takes no time-out as long.
    #[error("{} waits for at most {} s, not {}", node.display(), longest.as_secs(), least.as_secs())]
    TooShort {
        /// The watchdog's device node.
        node: PathBuf,
        /// The longest time-out that it takes.
        longest: Duration,
        /// The time after which it is to reset, at least.
        least: Duration,
    },
}

/// Why no watchdog is to be armed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWatchdog {
    /// None is wanted.
    #[error("TRIAL_DEADLINE_WATCHDOG=off")]
    Off,
    /// The kernel has none.
    #[error("there is no watchdog")]
    Absent,
    /// None of them can be used: why each can't.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unusable(Vec<WatchdogObstacle>),
}

/// Why a watchdog is not armed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchdogError {
    #[error("{0}")]
    NotOrdered(String),
    #[error("{} can't be armed", node.display())]
    Device {
        node: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What a watchdog is wanted for, and which are others'.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The time after which it is to reset, at least.
    pub(super) least: Duration,
    pub(super) choice: WatchdogChoice,
    pub(super) systemd: &'a SystemdWatchdog,
}

/// The watchdog that is armed, or why none is. Those that can be stopped come first, then hardware.
pub(super) fn choose(watchdogs: &[WatchdogFacts], wanted: &Wanted<'_>) -> Result<PathBuf, NoWatchdog> {
    if wanted.choice == WatchdogChoice::Off {
        return Err(NoWatchdog::Off);
    }
    let usable = |watchdog: &&WatchdogFacts| watchdog.obstacle(wanted).is_none();
    let rank = |watchdog: &&WatchdogFacts| (!watchdog.can_be_stopped, watchdog.is_soft(), watchdog.number);
    if let Some(chosen) = watchdogs.iter().filter(usable).min_by_key(rank) {
        return Ok(chosen.node());
    }
    let obstacles = watchdogs.iter().filter_map(|watchdog| watchdog.obstacle(wanted));
    let obstacles: Vec<_> = obstacles.collect();
    Err(if obstacles.is_empty() {
        NoWatchdog::Absent
    } else {
        NoWatchdog::Unusable(obstacles)
    })
}

/// A watchdog that runs.
#[derive(Debug)]
pub(super) struct ArmedWatchdog {
    device: File,
    pub(super) node: PathBuf,
    can_be_stopped: bool,
    /// Whether it took no time-out long enough, and can't be stopped: it is fed from the start.
    pub(super) is_short: bool,
    timeout: Duration,
}

/// A watchdog that runs on although it was to stop.
#[derive(Debug, thiserror::Error)]
pub(super) enum StillRuns {
    /// It has to be fed.
    #[error("{} can't be stopped", .0.node.display())]
    Held(ArmedWatchdog),
    /// It can't be opened any more, and resets the machine unless whoever has it feeds it.
    #[error("{} runs on and can't be fed", .0.display())]
    Lost(PathBuf, #[source] io::Error),
}

impl ArmedWatchdog {
    /// Has the watchdog reset the machine after `least`; one that is only to be fed is had without.
    ///
    /// # Errors
    /// [`WatchdogError`]: none is armed.
    pub(super) fn ordered(
        host: &Host,
        node: Result<PathBuf, String>,
        least: Option<Duration>,
    ) -> Result<Self, WatchdogError> {
        let node = node.map_err(WatchdogError::NotOrdered)?;
        let armed = match least {
            Some(least) => Self::arm(host, &node, least),
            None => Self::open(host, &node),
        };
        armed.map_err(|source| WatchdogError::Device { node, source })
    }

    /// Has the watchdog at `node` reset the machine after `least` or somewhat later.
    ///
    /// # Errors
    /// When it can't be opened, or takes no time-out as long as that and was stopped again.
    fn arm(host: &Host, node: &Path, least: Duration) -> io::Result<Self> {
        // From here on it runs, with a time-out of the driver's.
        let mut armed = Self::open(host, node)?;
        let Err(error) = armed.set_timeout(least) else {
            return Ok(armed);
        };
        match armed.stop(host) {
            Ok(()) => Err(error),
            Err(StillRuns::Held(mut armed)) => {
                armed.is_short = true;
                Ok(armed)
            }
            Err(lost @ StillRuns::Lost(..)) => Err(io::Error::other(chain(&lost))),
        }
    }

    /// Has the watchdog at `node`, which may run already.
    ///
    /// # Errors
    /// When it can't be opened, above all because somebody else has it.
    pub(super) fn open(host: &Host, node: &Path) -> io::Result<Self> {
        let known = WatchdogFacts::all(host);
        let known = known.iter().find(|watchdog| watchdog.node() == node);
        let path = host.path(&node.to_string_lossy());
        Ok(Self {
            device: OpenOptions::new().write(true).open(path)?,
            node: node.to_owned(),
            can_be_stopped: known.is_some_and(|watchdog| watchdog.can_be_stopped),
            is_short: false,
            timeout: Duration::ZERO,
        })
    }

    /// Has it reset after `least` from now. One that takes no time-out as long is fed from now on.
    pub(super) fn arm_anew(&mut self, least: Duration) {
        self.is_short = self.set_timeout(least).is_err();
    }

    fn set_timeout(&mut self, least: Duration) -> io::Result<()> {
        // Whole seconds, the begun one included.
        let wanted = u32::try_from(least.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
        let set = set_watchdog_timeout(&self.device, wanted)?;
        if set < wanted {
            return Err(io::Error::other(format!("it waits for {set} s, not {wanted}")));
        }
        self.timeout = Duration::from_secs(set.into());
        Ok(())
    }

    /// How often it is fed, where it is. A driver that took no time-out has one of its own, a minute
    /// as a rule.
    pub(super) fn feeding_interval(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(5);
        match self.timeout / 4 {
            Duration::ZERO => LONGEST,
            quarter => quarter.min(LONGEST),
        }
    }

    pub(super) fn feed(&self) -> io::Result<()> {
        feed_watchdog(&self.device)
    }

    /// Stops it, and looks whether it has stopped.
    ///
    /// # Errors
    /// [`StillRuns`]: what the driver takes for an answer is not what it does.
    pub(super) fn stop(mut self, host: &Host) -> Result<(), StillRuns> {
        if !self.can_be_stopped {
            return Err(StillRuns::Held(self));
        }
        // Not every driver takes the order, nor the character by which it knows that the end is meant.
        // What it has done, sysfs tells.
        let ordered = disable_watchdog(&self.device);
        if ordered.is_ok() && !WatchdogFacts::runs(host, &self.node) {
            return Ok(());
        }
        let _ = self.device.write_all(b"V");
        drop(self.device);
        if !WatchdogFacts::runs(host, &self.node) {
            return Ok(());
        }
        match Self::open(host, &self.node) {
            Ok(armed) => Err(StillRuns::Held(Self {
                can_be_stopped: false,
                ..armed
            })),
            Err(error) => Err(StillRuns::Lost(self.node, error)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(960);

    fn watchdog(number: u32, identity: &str) -> WatchdogFacts {
        WatchdogFacts {
            number,
            identity: identity.to_owned(),
            is_open: false,
            longest: None,
            can_be_stopped: true,
        }
    }

    const UNUSED: &SystemdWatchdog = &SystemdWatchdog::Unused;
    const ANY: Wanted<'_> = Wanted {
        least: LEAST,
        choice: WatchdogChoice::Hardware,
        systemd: UNUSED,
    };

    #[test]
    fn hardware_that_can_be_stopped_comes_first_where_hardware_is_wanted() {
        let (soft, hard) = (watchdog(0, SOFTDOG), watchdog(1, "iTCO_wdt"));
        let chosen = |all: &[WatchdogFacts]| choose(all, &ANY).unwrap();
        let both = [soft.clone(), hard.clone()];
        assert_eq!(chosen(&both), Path::new("/dev/watchdog1"));
        let unstoppable = WatchdogFacts {
            can_be_stopped: false,
            ..hard.clone()
        };
        assert_eq!(
            chosen(&[soft.clone(), unstoppable.clone()]),
            Path::new("/dev/watchdog0")
        );
        assert_eq!(chosen(&[unstoppable]), Path::new("/dev/watchdog1"));
        let in_use = WatchdogFacts {
            is_open: true,
            ..hard
        };
        assert_eq!(chosen(&[soft, in_use]), Path::new("/dev/watchdog0"));
    }

    #[test]
    fn hardware_is_left_to_others_unless_it_is_wanted() {
        let by_default = Wanted {
            choice: WatchdogChoice::Softdog,
            ..ANY
        };
        let (hard, soft) = (watchdog(0, "iTCO_wdt"), watchdog(1, SOFTDOG));
        assert_eq!(
            choose(&[hard.clone(), soft.clone()], &by_default).unwrap(),
            Path::new("/dev/watchdog1")
        );
        assert_eq!(
            choose(&[hard], &by_default).unwrap_err().to_string(),
            "/dev/watchdog0 (iTCO_wdt) is for others unless TRIAL_DEADLINE_WATCHDOG=hardware"
        );
        let off = Wanted {
            choice: WatchdogChoice::Off,
            ..ANY
        };
        assert_eq!(
            choose(&[soft], &off).unwrap_err().to_string(),
            "TRIAL_DEADLINE_WATCHDOG=off"
        );
    }

    #[test]
    fn where_none_can_be_used_each_says_why() {
        assert_eq!(choose(&[], &ANY).unwrap_err().to_string(), "there is no watchdog");
        let short = WatchdogFacts {
            longest: Some(Duration::from_secs(613)),
            ..watchdog(1, "iTCO_wdt")
        };
        let systemd = SystemdWatchdog::Number(0);
        let wanted = Wanted {
            systemd: &systemd,
            ..ANY
        };
        assert_eq!(
            choose(&[watchdog(0, "i6300ESB timer"), short], &wanted)
                .unwrap_err()
                .to_string(),
            "/dev/watchdog0 is systemd's (RuntimeWatchdogSec); /dev/watchdog1 waits for at most 613 s, not 960"
        );
    }

    /// A file takes no time-out and no order to stop.
    #[test]
    fn a_watchdog_that_runs_on_after_it_was_to_stop_is_held_and_fed() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let class = host.path(CLASS).join("watchdog0");
        fs::create_dir_all(&class).unwrap();
        fs::create_dir(host.path("/dev")).unwrap();
        fs::write(host.path("/dev/watchdog0"), "").unwrap();
        fs::write(class.join("nowayout"), "0\n").unwrap();
        let node = Path::new("/dev/watchdog0");
        fs::write(class.join("state"), "inactive\n").unwrap();
        ArmedWatchdog::arm(&host, node, LEAST).unwrap_err();
        assert_eq!(fs::read(host.path("/dev/watchdog0")).unwrap(), b"V");
        fs::write(class.join("state"), "active\n").unwrap();
        let armed = ArmedWatchdog::arm(&host, node, LEAST).unwrap();
        assert!(armed.is_short);
        assert_eq!(armed.feeding_interval(), Duration::from_secs(5));
        assert!(matches!(armed.stop(&host), Err(StillRuns::Held(_))));
    }

    #[test]
    fn what_sysfs_does_not_say_is_taken_for_the_worse() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        assert_eq!(WatchdogFacts::all(&host), []);
        let write = |name: &str, attributes: &[(&str, &str)]| {
            let directory = host.path(CLASS).join(name);
            fs::create_dir_all(&directory).unwrap();
            for (attribute, text) in attributes {
                fs::write(directory.join(attribute), format!("{text}\n")).unwrap();
            }
        };
        write("watchdog1", &[]);
        let told = [
            ("identity", SOFTDOG),
            ("state", "inactive"),
            ("max_timeout", "65535"),
            ("nowayout", "0"),
        ];
        write("watchdog0", &told);
        let softdog = WatchdogFacts {
            longest: Some(Duration::from_secs(65535)),
            ..watchdog(0, SOFTDOG)
        };
        let silent = WatchdogFacts {
            is_open: true,
            can_be_stopped: false,
            ..watchdog(1, "")
        };
        assert_eq!(WatchdogFacts::all(&host), [softdog, silent]);
    }
}
