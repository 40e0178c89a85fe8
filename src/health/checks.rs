//! Health checks: executables in drop-in directories.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};
use ring::digest::{SHA256, digest};

use super::Cause;
use super::cause::tail;
use crate::host::subprocess::{Finished, Subprocess, SubprocessError};
use crate::host::{Host, Unreadable};

/// The directories of checks; a file in the first one hides a file of the same name in the second.
pub const DIRECTORIES: [&str; 2] = ["/etc/update-engine/health.d", "/usr/lib/update-engine/health.d"];

/// The time limit of one check.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Bytes of a check's output that are kept: its end.
const KEPT: usize = 2048;

/// One executable that exits with 0 as long as the node is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The check's path on the host.
    path: String,
    file: PathBuf,
    executable: bool,
    /// The unit that it is run as, where systemd runs.
    unit: Option<String>,
}

/// The checks of `host`, by name. Hidden files and editors' backups are no checks, and a link to
/// `/dev/null` hides the check of that name; a file that can't be executed, or a link that leads
/// nowhere, is a check that fails, since it was meant to count.
///
/// # Errors
/// [`Unreadable`] if a directory or a file is there and can't be looked at, has a name that is no
/// text, or lies where nothing can be executed: nobody knows what is required.
pub fn find(host: &Host) -> Result<Vec<Check>, Unreadable> {
    let mut found: BTreeMap<OsString, Option<Check>> = BTreeMap::new();
    for directory in DIRECTORIES {
        let unreadable = |source: io::Error| Unreadable {
            path: directory.to_owned(),
            source,
        };
        let Some(entries) = host.if_there(directory, |path| fs::read_dir(path))? else {
            continue;
        };
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            if let Entry::Vacant(place) = found.entry(name) {
                let check = Check::at(host, directory, place.key())?;
                place.insert(check);
            }
        }
    }
    Ok(found.into_values().flatten().collect())
}

impl Check {
    fn at(host: &Host, directory: &str, name: &OsStr) -> Result<Option<Self>, Unreadable> {
        let text = name.to_string_lossy();
        if text.starts_with('.') || text.ends_with('~') {
            return Ok(None);
        }
        let path = format!("{directory}/{text}");
        if name.to_str().is_none_or(|name| name.contains(char::is_control)) {
            let source = io::Error::other("its name is no text: it can't be run as a unit");
            return Err(Unreadable { path, source });
        }
        let file = host.path(directory).join(name);
        let executable = match fs::metadata(&file) {
            // A directory, or a link to `/dev/null`.
            Ok(found) if !found.is_file() => return Ok(None),
            Ok(found) if found.permissions().mode() & 0o111 != 0 => {
                may_execute(&file).map_err(|source| Unreadable {
                    path: path.clone(),
                    source,
                })?;
                true
            }
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(Unreadable { path, source }),
        };
        Ok(Some(Self {
            path,
            file,
            executable,
            unit: host.has_systemd().then(|| unit_of(name)),
        }))
    }

    /// Runs it.
    ///
    /// # Errors
    /// How it ended, unless with 0.
    pub async fn run(&self) -> Result<(), Cause> {
        let unhealthy = |ended: String, output: &str| {
            Err(Cause::Check {
                path: self.path.clone(),
                ended,
                output: tail(output, KEPT).to_owned(),
            })
        };
        if !self.executable {
            return unhealthy("is not executable".to_owned(), "");
        }
        let mut check = Subprocess::new(&self.file, LIMIT);
        if let Some(unit) = &self.unit {
            check = check.in_unit(unit);
        }
        match check.run_quietly().await {
            Ok(Finished { status, .. }) if status.success() => Ok(()),
            Ok(Finished { status, output }) => {
                let ended = match status.code() {
                    Some(code) => format!("ended with exit code {code}"),
                    None => format!("ended with {status}"),
                };
                unhealthy(ended, &output.to_string())
            }
            Err(SubprocessError::TimedOut { limit, output, .. }) => {
                let ended = format!("was ended after {} s, its time limit", limit.as_secs());
                unhealthy(ended, &output.to_string())
            }
            Err(error) => {
                let reason = std::error::Error::source(&error).map(ToString::to_string);
                unhealthy("can't be run".to_owned(), &reason.unwrap_or_default())
            }
        }
    }
}

/// Fails where nothing can be executed: `systemd-confext` merges `/etc` so by default. What such a
/// check would say of the node is not known, and is not the image's doing.
fn may_execute(file: &Path) -> io::Result<()> {
    if statvfs(file)?.flags().contains(FsFlags::ST_NOEXEC) {
        return Err(io::Error::other(
            "its file system is mounted noexec: nothing there can be executed",
        ));
    }
    Ok(())
}

/// Longest name of a unit that systemd accepts, in bytes.
const LONGEST_UNIT: usize = 255;

/// The name of a check's unit, another one for each check: bytes that can't stand in one become `:`
/// and two digits, and the end of what would be too long becomes `:-` and a hash of it all.
fn unit_of(name: &OsStr) -> String {
    let (prefix, suffix) = ("update-engine-check-", ".service");
    let mut escaped = String::new();
    for byte in name.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => escaped.push(char::from(*byte)),
            // Writing to a string can't fail.
            byte => drop(write!(escaped, ":{byte:02x}")),
        }
    }
    let room = LONGEST_UNIT - prefix.len() - suffix.len();
    if escaped.len() > room {
        let hash = digest(&SHA256, name.as_bytes());
        let mut end = ":-".to_owned();
        for byte in &hash.as_ref()[..16] {
            let _ = write!(end, "{byte:02x}");
        }
        // All of it is ASCII.
        escaped.truncate(room - end.len());
        escaped += &end;
    }
    format!("{prefix}{escaped}{suffix}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Machine {
        root: tempfile::TempDir,
        host: Host,
    }

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let host = Host::new(root.path());
            for directory in DIRECTORIES {
                fs::create_dir_all(host.path(directory)).unwrap();
            }
            Self { root, host }
        }

        fn add(&self, path: &str, script: &str, mode: u32) {
            let file = self.root.path().join(path.trim_start_matches('/'));
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }

        fn paths(&self) -> Vec<String> {
            let checks = find(&self.host).unwrap();
            checks.into_iter().map(|check| check.path).collect()
        }
    }

    #[test]
    fn operators_files_stand_before_the_images() {
        let machine = Machine::new();
        for path in [
            "/usr/lib/update-engine/health.d/10-a",
            "/etc/update-engine/health.d/10-a",
            "/usr/lib/update-engine/health.d/20-b",
            "/usr/lib/update-engine/health.d/30-c",
            "/etc/update-engine/health.d/05-z",
            "/etc/update-engine/health.d/.hidden",
            "/etc/update-engine/health.d/05-z~",
        ] {
            machine.add(path, "", 0o755);
        }
        let masked = machine.host.path("/etc/update-engine/health.d/30-c");
        symlink("/dev/null", masked).unwrap();
        assert_eq!(
            machine.paths(),
            [
                "/etc/update-engine/health.d/05-z",
                "/etc/update-engine/health.d/10-a",
                "/usr/lib/update-engine/health.d/20-b"
            ]
        );
    }

    #[test]
    fn a_machine_without_directories_has_no_checks_and_an_unreadable_one_is_a_cause() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        assert_eq!(find(&host).unwrap(), []);
        fs::create_dir_all(host.path("/etc/update-engine")).unwrap();
        fs::write(host.path(DIRECTORIES[0]), "").unwrap();
        assert_eq!(find(&host).unwrap_err().path, DIRECTORIES[0]);
    }

    #[tokio::test]
    async fn a_check_ends_well_or_with_a_cause() {
        let machine = Machine::new();
        let cases = [
            ("ok", "exit 0", 0o755, None),
            (
                "code",
                "echo no answer; exit 7",
                0o755,
                Some("ended with exit code 7: no answer"),
            ),
            (
                "signal",
                "kill -9 $$",
                0o755,
                Some("ended with signal: 9 (SIGKILL)"),
            ),
            ("mode", "exit 0", 0o644, Some("is not executable")),
        ];
        for (name, script, mode, expected) in cases {
            let path = format!("{}/{name}", DIRECTORIES[0]);
            machine.add(&path, script, mode);
            let check = Check::at(&machine.host, DIRECTORIES[0], OsStr::new(name))
                .unwrap()
                .unwrap();
            let said = check.run().await.err().map(|cause| cause.to_string());
            let expected = expected.map(|ended| format!("health check {path} {ended}"));
            assert_eq!(said, expected);
        }
    }

    #[tokio::test]
    async fn a_link_to_nowhere_fails() {
        let machine = Machine::new();
        symlink("/nowhere", machine.host.path(DIRECTORIES[0]).join("x")).unwrap();
        let checks = find(&machine.host).unwrap();
        assert!(checks[0].run().await.is_err());
    }

    #[test]
    fn what_can_not_be_looked_at_is_no_check_that_passes_and_none_that_fails() {
        for directory in DIRECTORIES {
            let machine = Machine::new();
            let file = machine.host.path(directory).join("x");
            symlink("x", &file).unwrap();
            assert_eq!(find(&machine.host).unwrap_err().path, format!("{directory}/x"));
            fs::remove_file(&file).unwrap();
            for name in [&b"\xff"[..], b"a\nb"] {
                let file = machine.host.path(directory).join(OsStr::from_bytes(name));
                fs::write(&file, "").unwrap();
                assert!(find(&machine.host).is_err());
                fs::remove_file(&file).unwrap();
            }
            fs::remove_dir(machine.host.path(directory)).unwrap();
            symlink("/nowhere", machine.host.path(directory)).unwrap();
            assert_eq!(find(&machine.host).unwrap_err().path, directory);
        }
    }

    #[test]
    fn every_name_has_a_unit_of_its_own_that_systemd_takes() {
        let long = |last: char| format!("{}{last}", "\u{1f600}".repeat(63));
        let names = [
            "50-api",
            "a b",
            "a:20b",
            "a@b",
            "@",
            "-x",
            "--help",
            "ä",
            "Ã¤",
            "a\nb",
            "a\tb",
            "%n",
            "$HOME",
            ";",
            "\\",
            "a.service",
            "..x",
            &long('a'),
            &long('b'),
            &"x".repeat(255),
            &format!("{}y", "x".repeat(254)),
            &"x".repeat(227),
        ];
        let mut units = std::collections::BTreeSet::new();
        for name in names.map(OsStr::new) {
            let unit = unit_of(name);
            assert!(
                crate::config::UnitName::new(&unit).is_some_and(|name| name.as_str() == unit),
                "{unit}"
            );
            assert!(units.insert(unit), "{name:?}");
        }
        assert_eq!(
            unit_of(OsStr::new("50-api_v1.sh")),
            "update-engine-check-50-api_v1.sh.service"
        );
        assert_eq!(unit_of(OsStr::new("a b")), "update-engine-check-a:20b.service");
    }
}
