//! systemd's own use of a watchdog: `RuntimeWatchdogSec=` of `system.conf`, as it will count once the
//! system's systemd runs. It opens the first device.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::host::Host;

/// Directories of systemd's configuration, the one that counts least first.
const DIRECTORIES: [&str; 4] = [
    "/usr/lib/systemd",
    "/usr/local/lib/systemd",
    "/run/systemd",
    "/etc/systemd",
];
const KEY: &str = "RuntimeWatchdogSec=";
/// The same on the kernel's command line, where it comes first.
const WORD: &str = "systemd.watchdog_sec=";

/// Whether systemd feeds, or will feed, the first watchdog.
pub(super) fn systemd_feeds_first(host: &Host) -> bool {
    let command_line = fs::read_to_string(host.path("/proc/cmdline")).unwrap_or_default();
    let word = command_line
        .split_ascii_whitespace()
        .rev()
        .find_map(|word| word.strip_prefix(WORD));
    if let Some(value) = word {
        return is_on(value);
    }
    let mut value = String::new();
    for file in files(host) {
        let text = fs::read_to_string(file).unwrap_or_default();
        if let Some(last) = text.lines().rev().find_map(|line| line.trim().strip_prefix(KEY)) {
            last.trim().clone_into(&mut value);
        }
    }
    is_on(&value)
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

fn is_on(value: &str) -> bool {
    !matches!(value, "" | "0" | "off" | "infinity")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn the_last_drop_in_by_name_counts_and_of_one_name_the_administrators() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let write = |path: &str, text: &str| {
            let path = host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(!systemd_feeds_first(&host));
        write("/etc/systemd/system.conf", "[Manager]\n#RuntimeWatchdogSec=30\n");
        assert!(!systemd_feeds_first(&host));
        write(
            "/usr/lib/systemd/system.conf.d/50-vendor.conf",
            "[Manager]\nRuntimeWatchdogSec=30\n",
        );
        assert!(systemd_feeds_first(&host));
        write(
            "/etc/systemd/system.conf.d/50-vendor.conf",
            "[Manager]\nRuntimeWatchdogSec=off\n",
        );
        assert!(!systemd_feeds_first(&host));
        write(
            "/run/systemd/system.conf.d/60-later.conf",
            "[Manager]\nRuntimeWatchdogSec=1min\n",
        );
        assert!(systemd_feeds_first(&host));
        write("/proc/cmdline", "quiet systemd.watchdog_sec=0\n");
        assert!(!systemd_feeds_first(&host));
    }
}
