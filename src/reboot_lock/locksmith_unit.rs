//! Settings in drop-ins of locksmith's unit. systemd gives them to locksmith alone: a manager in its place would reboot at any
//! time, or without the lock, on a node whose window or strategy stands there.

use std::ffi::OsString;
use std::fs;
use std::io;

use crate::config::KeyValues;
use crate::host::{Host, Unreadable};

/// The unit as the administrator has written it, and drop-ins, which locksmith's users have set it up by: coreos-cloudinit
/// and Tectonic, for example. Not the image's own.
const DIRECTORIES: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];
const UNIT: &str = "locksmithd.service";

/// A setting that is given to locksmith.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitSetting {
    pub(super) path: String,
    pub(super) key: String,
    pub(super) value: String,
}

/// All of them; those of environment files, too, but for `known` ones.
pub(super) fn unit_settings(host: &Host, known: &[&str]) -> Result<Vec<UnitSetting>, Unreadable> {
    let mut found = Vec::new();
    for path in files(host)? {
        // A link to /dev/null masks the unit, and is empty.
        let Some(text) = host.read(&path)? else { continue };
        let text = String::from_utf8_lossy(&text).replace("\\\n", " ");
        for (name, value) in pairs(&text) {
            let (path, path_of_file) = (path.clone(), value.trim_start_matches('-'));
            let assigned = match name.as_str() {
                "Environment" => words(&value).iter().filter_map(|word| pair(word)).collect(),
                "EnvironmentFile" if !known.contains(&path_of_file) => {
                    let contents = host.read(path_of_file)?.unwrap_or_default();
                    pairs(&String::from_utf8_lossy(&contents))
                }
                _ => Vec::new(),
            };
            let setting = |(key, value): (String, String)| UnitSetting {
                path: path.clone(),
                key,
                value: unquoted(&value),
            };
            found.extend(assigned.into_iter().map(setting));
        }
    }
    Ok(found)
}

/// The unit and its drop-ins, by name.
fn files(host: &Host) -> Result<Vec<String>, Unreadable> {
    let mut files = Vec::new();
    for base in DIRECTORIES {
        files.push(format!("{base}/{UNIT}"));
        let directory = format!("{base}/{UNIT}.d");
        let names = host.if_there(&directory, |path| -> io::Result<Vec<OsString>> {
            fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
        })?;
        let names = names.into_iter().flatten();
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| {
            name.strip_suffix(".conf")
                .is_some_and(|stem| !stem.starts_with('.'))
        });
        names.sort();
        files.extend(names.iter().map(|name| format!("{directory}/{name}")));
    }
    Ok(files)
}

/// The lines `KEY=value`, without blanks around either.
fn pairs(text: &str) -> Vec<(String, String)> {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', ';']));
    lines.filter_map(pair).collect()
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((key.trim().to_owned(), value.trim().to_owned()))
}

/// Without one pair of quotes, as in `update.conf`.
fn unquoted(value: &str) -> String {
    let pairs = KeyValues::parse(&format!("K={value}"));
    pairs.get("K").unwrap_or(value).to_owned()
}

/// Words separated by blanks outside of quotes, which are taken off.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut quote, mut word) = (Vec::new(), None, String::new());
    for c in text.chars() {
        match quote {
            None if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::super::settings::{ManagerValues, Strategy};
    use super::*;

    const DROP_IN: &str = "/etc/systemd/system/locksmithd.service.d/40-etcd-lock.conf";

    fn node(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        for (path, text) in files {
            let path = host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (root, host)
    }

    /// What is told of the settings of a node with these files; nothing if it may start.
    fn told(files: &[(&str, &str)], strategy: Strategy) -> Option<String> {
        let (_root, host) = node(files);
        let values = ManagerValues::read(&host).unwrap();
        let checked = values.none_left_to_locksmith(&host, strategy);
        checked.err().map(|fault| fault.to_string())
    }

    #[test]
    fn a_window_or_a_strategy_of_locksmiths_unit_alone_is_refused_by_name() {
        for text in [
            "[Service]\nEnvironment=REBOOT_STRATEGY=etcd-lock\n",
            "[Service]\nEnvironment=\"REBOOT_STRATEGY=off\"\n",
            "[Service]\nEnvironment=A=b 'REBOOT_WINDOW_START=Thu 04:00' \\\n  REBOOT_WINDOW_LENGTH=1h\n",
            "[Service]\n Environment = LOCKSMITHD_REBOOT_WINDOW_START=04:00\n",
            "[Service]\nEnvironmentFile=-/etc/locksmith/options.env\n",
        ] {
            let options = (
                "/etc/locksmith/options.env",
                "# x\nREBOOT_WINDOW_START=\"04:00\"\n",
            );
            for path in [
                DROP_IN,
                "/run/systemd/system/locksmithd.service.d/20-cloudinit.conf",
                "/etc/systemd/system/locksmithd.service",
            ] {
                let told = told(&[(path, text), options], Strategy::Reboot).unwrap();
                assert!(told.contains(path) && told.contains("REBOOT_"), "{text}: {told}");
                assert!(told.contains("counts for locksmithd alone"), "{told}");
            }
        }
        let etcd = [(
            DROP_IN,
            "[Service]\nEnvironment=LOCKSMITHD_ENDPOINT=https://etcd:2379\n",
        )];
        assert!(
            told(&etcd, Strategy::EtcdLock)
                .unwrap()
                .contains("LOCKSMITHD_ENDPOINT")
        );
        // It says nothing where there is no lock.
        assert_eq!(told(&etcd, Strategy::Reboot), None);
    }

    #[test]
    fn what_stands_in_update_conf_too_or_says_nothing_is_no_fault() {
        let strategy = (DROP_IN, "[Service]\nEnvironment=REBOOT_STRATEGY=off\n");
        for (path, text) in [
            // As for locksmith: what a file sets stands before it.
            ("/etc/flatcar/update.conf", "REBOOT_STRATEGY=reboot\n"),
            ("/usr/share/flatcar/update.conf", "REBOOT_STRATEGY=\"reboot\"\n"),
        ] {
            assert_eq!(told(&[strategy, (path, text)], Strategy::Reboot), None, "{path}");
        }
        for text in [
            "",
            "[Service]\nRestartSec=60s\n",
            "[Service]\n#Environment=REBOOT_STRATEGY=off\n;Environment=REBOOT_STRATEGY=off\n",
            "[Service]\nEnvironment=REBOOT_STRATEGY=reboot GODEBUG=x\n",
            "[Service]\nEnvironment=\nEnvironment=REBOOT_WINDOW_START=\n",
            "[Service]\nEnvironmentFile=-/etc/flatcar/update.conf\nEnvironmentFile=/etc/none\n",
        ] {
            assert_eq!(told(&[(DROP_IN, text)], Strategy::Reboot), None, "{text}");
        }
        let others = (
            "/etc/systemd/system/locksmithd.service.d/readme",
            "Environment=REBOOT_STRATEGY=off\n",
        );
        assert_eq!(told(&[others], Strategy::Reboot), None);
        let (_root, host) = node(&[]);
        let masked = host.path("/etc/systemd/system/locksmithd.service");
        fs::create_dir_all(masked.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/dev/null", masked).unwrap();
        assert_eq!(unit_settings(&host, &[]).unwrap(), []);
    }
}
