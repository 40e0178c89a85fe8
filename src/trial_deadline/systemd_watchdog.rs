//! systemd's own use of a watchdog: `RuntimeWatchdogSec=` and `WatchdogDevice=` of `system.conf`, as
//! they will count once the system's systemd runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::host::Host;

/// Directories of systemd's configuration, the one that counts least first.
const DIRECTORIES: [&str; 4] = [
    "/usr/lib/systemd",
    "/usr/local/lib/systemd",
    "/run/systemd",
    "/etc/systemd",
];
/// Keys, and the words of the kernel's command line which come before them.
const TIME: (&str, &str) = ("RuntimeWatchdogSec", "systemd.watchdog_sec");
const DEVICE: (&str, &str) = ("WatchdogDevice", "systemd.watchdog_device");
/// The node of the first watchdog, by its other name.
const FIRST: &str = "watchdog";

/// Which watchdog systemd feeds, or will feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemdWatchdog {
    /// systemd feeds no watchdog.
    Unused,
    /// The one with this number.
    Number(u32),
    /// One that can't be told, by this name: any may be it.
    Unknown(String),
}

impl SystemdWatchdog {
    pub(super) fn read(host: &Host) -> Self {
        let command_line = fs::read_to_string(host.path("/proc/cmdline")).unwrap_or_default();
        let files = files(host);
        let setting = |(key, word): (&str, &str)| {
            let words = command_line.split_ascii_whitespace().rev();
            let mut words = words.filter_map(|found| found.split_once('='));
            let found = words.find(|(name, _)| *name == word);
            let value = found.map(|(_, value)| value.to_owned());
            value.or_else(|| last_of(&files, key)).unwrap_or_default()
        };
        if !is_on(&setting(TIME)) {
            return Self::Unused;
        }
        match setting(DEVICE).as_str() {
            "" => Self::Number(0),
            device => number_of(host, device).map_or_else(|| Self::Unknown(device.to_owned()), Self::Number),
        }
    }

    /// Why watchdog `number` is not to be taken, if systemd has or will have it.
    pub(super) fn claims(&self, number: u32) -> Option<String> {
        match self {
            Self::Number(theirs) if *theirs == number => Some("systemd's (RuntimeWatchdogSec)".to_owned()),
            Self::Unknown(device) => Some(format!("perhaps systemd's (WatchdogDevice={device})")),
            Self::Unused | Self::Number(_) => None,
        }
    }
}

/// The number of the watchdog whose node `device` is, also by a link.
fn number_of(host: &Host, device: &str) -> Option<u32> {
    let numbered = |node: &Path| match node.file_name()?.to_str()?.strip_prefix(FIRST)? {
        "" => Some(0),
        number => number.parse().ok(),
    };
    let node = Path::new(device);
    numbered(node).or_else(|| numbered(&fs::read_link(host.path(device)).ok()?))
}

/// The files, the one that counts most last: the file of one directory, then all drop-ins by name.
fn files(host: &Host) -> Vec<PathBuf> {
    let main = DIRECTORIES.map(|directory| host.path(directory).join("system.conf"));
    let main = main.into_iter().rev().find(|file| file.exists());
    let mut drop_ins = BTreeMap::new();
    for directory in DIRECTORIES {
        let entries = fs::read_dir(host.path(directory).join("system.conf.d"));
        for entry in entries.into_iter().flatten().flatten() {
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "conf")
            {
                drop_ins.insert(entry.file_name(), entry.path());
            }
        }
    }
    main.into_iter().chain(drop_ins.into_values()).collect()
}

/// The last value of `key` in `files`, without the blanks that systemd allows around it.
fn last_of(files: &[PathBuf], key: &str) -> Option<String> {
    let in_file = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut lines = text.lines().rev().filter_map(|line| line.split_once('='));
        let found = lines.find(|(name, _)| name.trim() == key);
        found.map(|(_, value)| value.trim().to_owned())
    };
    files.iter().rev().find_map(in_file)
}

/// Whether a time-out is set: neither none nor nought of any unit.
fn is_on(value: &str) -> bool {
    let number = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let is_nought = !number.is_empty() && number.chars().all(|digit| digit == '0');
    !is_nought && !matches!(value, "" | "off" | "infinity")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const UNUSED: SystemdWatchdog = SystemdWatchdog::Unused;
    const FIRST_ONE: SystemdWatchdog = SystemdWatchdog::Number(0);

    fn write(host: &Host, path: &str, text: &str) {
        let path = host.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_last_drop_in_by_name_counts_and_of_one_name_the_administrators() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let read = || SystemdWatchdog::read(&host);
        assert_eq!(read(), UNUSED);
        write(
            &host,
            "/etc/systemd/system.conf",
            "[Manager]\n#RuntimeWatchdogSec=30\n",
        );
        assert_eq!(read(), UNUSED);
        let vendors = "/usr/lib/systemd/system.conf.d/50-vendor.conf";
        write(&host, vendors, "[Manager]\nRuntimeWatchdogSec=30\n");
        assert_eq!(read(), FIRST_ONE);
        let administrators = "/etc/systemd/system.conf.d/50-vendor.conf";
        write(&host, administrators, "[Manager]\nRuntimeWatchdogSec=off\n");
        assert_eq!(read(), UNUSED);
        let later = "/run/systemd/system.conf.d/60-later.conf";
        write(&host, later, "[Manager]\nRuntimeWatchdogSec=1min\n");
        assert_eq!(read(), FIRST_ONE);
        write(&host, "/proc/cmdline", "quiet systemd.watchdog_sec=0\n");
        assert_eq!(read(), UNUSED);
    }

    #[test]
    fn systemds_device_may_be_another_than_the_first() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        fs::create_dir(host.path("/dev")).unwrap();
        symlink("watchdog2", host.path("/dev/watchdog-board")).unwrap();
        for (device, expected) in [
            ("/dev/watchdog", FIRST_ONE),
            ("/dev/watchdog0", FIRST_ONE),
            ("/dev/watchdog1", SystemdWatchdog::Number(1)),
            ("/dev/watchdog-board", SystemdWatchdog::Number(2)),
            ("/dev/other", SystemdWatchdog::Unknown("/dev/other".to_owned())),
        ] {
            let text = format!("[Manager]\nRuntimeWatchdogSec = 30s\nWatchdogDevice = {device}\n");
            write(&host, "/etc/systemd/system.conf", &text);
            assert_eq!(SystemdWatchdog::read(&host), expected, "{device}");
        }
        assert!(SystemdWatchdog::Number(1).claims(1).is_some());
        assert_eq!(SystemdWatchdog::Number(1).claims(0), None);
        assert!(SystemdWatchdog::Unknown(String::new()).claims(7).is_some());
        write(&host, "/proc/cmdline", "systemd.watchdog_device=/dev/watchdog3\n");
        assert_eq!(SystemdWatchdog::read(&host), SystemdWatchdog::Number(3));
    }

    #[test]
    fn nought_of_any_unit_is_off() {
        for value in ["", "0", "0s", "0 min", "off", "infinity"] {
            assert!(!is_on(value), "{value}");
        }
        for value in ["10", "1min", "500ms", "0.5s", "default"] {
            assert!(is_on(value), "{value}");
        }
    }
}
