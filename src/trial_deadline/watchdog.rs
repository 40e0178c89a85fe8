//! Watchdogs: those that the kernel has, the choice of one, and one that is armed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{feed_watchdog, set_watchdog_timeout};
use crate::host::Host;

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
    /// Whether somebody has it, or had and didn't stop it.
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

    /// Why it can't be used, if it can't.
    fn obstacle(&self, least: Duration, systemd_feeds_first: bool) -> Option<String> {
        let node = self.node();
        let node = node.display();
        if self.is_open {
            return Some(format!("{node} is in use"));
        }
        if self.number == 0 && systemd_feeds_first {
            return Some(format!("{node} is systemd's (RuntimeWatchdogSec)"));
        }
        let longest = self.longest.filter(|&longest| longest < least)?;
        Some(format!(
            "{node} waits for at most {} s, not {}",
            longest.as_secs(),
            least.as_secs()
        ))
    }
}

/// The watchdog that is armed for `least`, or why none is. Those that can be stopped come first, then
/// hardware.
pub(super) fn choose(
    watchdogs: &[WatchdogFacts],
    least: Duration,
    systemd_feeds_first: bool,
) -> Result<PathBuf, String> {
    let usable = |watchdog: &&WatchdogFacts| watchdog.obstacle(least, systemd_feeds_first).is_none();
    let rank = |watchdog: &&WatchdogFacts| {
        let is_soft = watchdog.identity == SOFTDOG;
        (!watchdog.can_be_stopped, is_soft, watchdog.number)
    };
    if let Some(chosen) = watchdogs.iter().filter(usable).min_by_key(rank) {
        return Ok(chosen.node());
    }
    let obstacles = watchdogs
        .iter()
        .filter_map(|watchdog| watchdog.obstacle(least, systemd_feeds_first));
    let obstacles: Vec<_> = obstacles.collect();
    Err(if obstacles.is_empty() {
        "there is no watchdog".to_owned()
    } else {
        obstacles.join("; ")
    })
}

/// A watchdog that runs.
#[derive(Debug)]
pub(super) struct ArmedWatchdog {
    device: File,
    pub(super) node: PathBuf,
    pub(super) can_be_stopped: bool,
    /// Whether it took no time-out long enough, and can't be stopped: it is fed from the start.
    pub(super) is_short: bool,
    timeout: Duration,
}

impl ArmedWatchdog {
    /// Has the watchdog at `node` reset the machine after `least` or somewhat later.
    ///
    /// # Errors
    /// When it can't be opened, or takes no time-out as long as that and was stopped again.
    pub(super) fn arm(host: &Host, node: &Path, least: Duration) -> io::Result<Self> {
        let known = WatchdogFacts::all(host);
        let known = known.iter().find(|watchdog| watchdog.node() == node);
        let path = host.path(&node.to_string_lossy());
        // From here on it runs, with a time-out of the driver's.
        let device = OpenOptions::new().write(true).open(path)?;
        let mut armed = Self {
            device,
            node: node.to_owned(),
            can_be_stopped: known.is_some_and(|watchdog| watchdog.can_be_stopped),
            is_short: false,
            timeout: least,
        };
        let Err(error) = armed.set_timeout(least) else {
            return Ok(armed);
        };
        if armed.can_be_stopped {
            armed.stop()?;
            return Err(error);
        }
        armed.is_short = true;
        Ok(armed)
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
        (self.timeout / 4).min(Duration::from_secs(5))
    }

    pub(super) fn feed(&self) -> io::Result<()> {
        feed_watchdog(&self.device)
    }

    /// Stops it: drivers know by this character that the end is meant.
    pub(super) fn stop(&mut self) -> io::Result<()> {
        self.device.write_all(b"V")
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

    #[test]
    fn hardware_that_can_be_stopped_comes_first() {
        let (soft, hard) = (watchdog(0, SOFTDOG), watchdog(1, "iTCO_wdt"));
        let chosen = |all: &[WatchdogFacts]| choose(all, LEAST, false).unwrap();
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
    fn where_none_can_be_used_each_says_why() {
        assert_eq!(choose(&[], LEAST, false).unwrap_err(), "there is no watchdog");
        let short = WatchdogFacts {
            longest: Some(Duration::from_secs(613)),
            ..watchdog(1, "iTCO_wdt")
        };
        assert_eq!(
            choose(&[watchdog(0, "i6300ESB timer"), short], LEAST, true).unwrap_err(),
            "/dev/watchdog0 is systemd's (RuntimeWatchdogSec); /dev/watchdog1 waits for at most 613 s, not 960"
        );
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
