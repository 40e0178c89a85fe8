//! Health checks: executables in drop-in directories.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::Cause;
use super::cause::tail;
use crate::host::Host;
use crate::host::subprocess::{Finished, Subprocess, SubprocessError};

/// Where checks lie; a file in the first directory stands before one of the same name in the second.
pub const DIRECTORIES: [&str; 2] = ["/etc/update-engine/health.d", "/usr/lib/update-engine/health.d"];

/// How long one check may run.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How much of a check's last words is kept, in bytes.
const KEPT: usize = 2048;

/// One executable that exits with 0 as long as the node is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Where it lies on the host.
    path: String,
    file: PathBuf,
    executable: bool,
    /// The unit that it is run as, where systemd runs.
    unit: Option<String>,
}

/// The checks of `host`, by name. Hidden files and editors' backups are none, and a link to `/dev/null` hides
/// the check of that name; a file that can't be executed is one that fails, since somebody meant it to count.
///
/// # Errors
/// [`Cause::Checks`] if a directory is there and can't be read.
pub fn find(host: &Host) -> Result<Vec<Check>, Cause> {
    let mut found: BTreeMap<OsString, Option<Check>> = BTreeMap::new();
    for directory in DIRECTORIES {
        let unreadable = |error: io::Error| Cause::Checks {
            path: directory.to_owned(),
            reason: error.to_string(),
        };
        let entries = match fs::read_dir(host.path(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(unreadable)?,
        };
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            let check = || Check::at(host, directory, &name);
            found.entry(name.clone()).or_insert_with(check);
        }
    }
    Ok(found.into_values().flatten().collect())
}

impl Check {
    fn at(host: &Host, directory: &str, name: &OsString) -> Option<Self> {
        let text = name.to_string_lossy();
        if text.starts_with('.') || text.ends_with('~') {
            return None;
        }
        let file = host.path(directory).join(name);
        let metadata = fs::metadata(&file);
        let is_masked = |metadata: &Metadata| !metadata.is_file();
        if metadata.as_ref().is_ok_and(is_masked) {
            return None;
        }
        Some(Self {
            path: format!("{directory}/{text}"),
            file,
            executable: metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0),
            unit: host.has_systemd().then(|| unit_of(&text)),
        })
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

/// The name of a check's unit: what can't stand in one becomes `:` and its number.
fn unit_of(name: &str) -> String {
    let part = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c.to_string(),
        c => format!(":{:x}", u32::from(c)),
    };
    format!(
        "update-engine-check-{}.service",
        name.chars().take(64).map(part).collect::<String>()
    )
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
        assert_eq!(find(&host), Ok(vec![]));
        fs::create_dir_all(host.path("/etc/update-engine")).unwrap();
        fs::write(host.path(DIRECTORIES[0]), "").unwrap();
        let cause = find(&host).unwrap_err();
        assert!(matches!(cause, Cause::Checks { path, .. } if path == DIRECTORIES[0]));
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
            let check = Check::at(&machine.host, DIRECTORIES[0], &name.into()).unwrap();
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
}
