//! Programs of the administrator: `pre-reboot.d` before a reboot, `post-good.d` once the slot is good.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::host::subprocess::{Subprocess, SubprocessError};
use crate::host::{Host, Unreadable};
use crate::journal::chain;
use crate::printable::printable;

/// A file in the first directory stands before one of the same name in the second.
const DIRECTORIES: [&str; 2] = ["/etc/update-engine", "/usr/lib/update-engine"];
/// Bytes of a program's last line that are told.
const LONGEST: usize = 200;

/// A moment at which programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    PreReboot,
    PostGood,
}

impl Moment {
    const fn directory(self) -> &'static str {
        match self {
            Self::PreReboot => "pre-reboot.d",
            Self::PostGood => "post-good.d",
        }
    }

    /// For one program; it may drain a node of what it runs.
    const fn limit(self) -> Duration {
        match self {
            Self::PreReboot => Duration::from_secs(30 * 60),
            Self::PostGood => Duration::from_secs(10 * 60),
        }
    }
}

/// Why a program does not let a reboot go on. Programs are named with their directory.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramVeto {
    /// It ended with a failure, and with this last line.
    #[error("{0} refuses: {1}")]
    Refused(String, String),
    /// It was ended.
    #[error("{program} was ended after {} s, its time limit", limit.as_secs())]
    TimedOut {
        /// The program, with its directory.
        program: String,
        /// The time that it was given.
        limit: Duration,
    },
    /// It could not be run.
    #[error("{0}")]
    NotRun(String, #[source] Box<SubprocessError>),
    /// It is a link to nothing.
    #[error("{0} is a link that leads nowhere")]
    LeadsNowhere(String),
    /// What it is can't be told.
    #[error("{0}")]
    Unknown(String, #[source] io::Error),
    /// Which programs there are can't be told.
    #[error(transparent)]
    NotListed(#[from] Unreadable),
    /// The look for them has ended without an answer.
    #[error(transparent)]
    LookLost(#[from] JoinError),
}

/// Runs the programs of `moment` by name, each with `version`, until one refuses.
///
/// # Errors
/// [`ProgramVeto`].
pub(super) async fn run_until_refused(host: &Host, moment: Moment, version: &str) -> Result<(), ProgramVeto> {
    let programs = {
        let host = host.clone();
        tokio::task::spawn_blocking(move || find(&host, moment)).await
    };
    for (name, file) in programs?? {
        run_one(host, moment, &name, file?, version).await?;
    }
    Ok(())
}

/// The same of `post-good.d`: all run, and what fails is only told.
pub(super) async fn run_all(host: &Host, moment: Moment, version: &str) {
    let found = {
        let host = host.clone();
        tokio::task::spawn_blocking(move || find(&host, moment)).await
    };
    let Ok(found) = found else { return };
    match found {
        Err(error) => tracing::warn!("{}", chain(&error)),
        Ok(programs) => {
            for (name, file) in programs {
                let outcome = match file {
                    Ok(file) => run_one(host, moment, &name, file, version).await,
                    Err(why) => Err(why),
                };
                if let Err(why) = outcome {
                    tracing::warn!("{}", chain(&why));
                }
            }
        }
    }
}

async fn run_one(
    host: &Host,
    moment: Moment,
    name: &str,
    file: PathBuf,
    version: &str,
) -> Result<(), ProgramVeto> {
    let shown = format!("{}/{name}", moment.directory());
    let mut program = Subprocess::new(&file, moment.limit()).arg(version);
    if host.has_systemd() {
        program = program.in_unit(&unit(moment, name));
    }
    match program.run(&CancellationToken::new()).await {
        Ok(finished) if finished.status.success() => Ok(()),
        Ok(finished) => {
            let output = finished.output.to_string();
            let last = output.lines().rev().find(|line| !line.trim().is_empty());
            let last: String = last
                .unwrap_or("without a reason")
                .trim()
                .chars()
                .take(LONGEST)
                .collect();
            Err(ProgramVeto::Refused(shown, printable(&last).into_owned()))
        }
        Err(SubprocessError::TimedOut { limit, .. }) => Err(ProgramVeto::TimedOut {
            program: shown,
            limit,
        }),
        Err(error) => Err(ProgramVeto::NotRun(shown, Box::new(error))),
    }
}

/// Characters that can't stand in a unit's name become underscores.
fn unit(moment: Moment, name: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name
        .chars()
        .map(|c| if kept(c) { c } else { '_' })
        .take(100)
        .collect();
    let moment = moment.directory().trim_end_matches(".d");
    format!("update-reboot-manager-{moment}-{name}.service")
}

/// A program's file, or why it can't be told.
type ProgramFile = Result<PathBuf, ProgramVeto>;

/// Names and files. Hidden ones and editors' backups are none; a link to `/dev/null` hides the one of its name.
fn find(host: &Host, moment: Moment) -> Result<BTreeMap<String, ProgramFile>, Unreadable> {
    let mut found: BTreeMap<String, Option<ProgramFile>> = BTreeMap::new();
    for base in DIRECTORIES {
        let directory = format!("{base}/{}", moment.directory());
        let unreadable = |source: io::Error| Unreadable {
            path: directory.clone(),
            source,
        };
        let Some(entries) = host.if_there(&directory, |path| fs::read_dir(path))? else {
            continue;
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            let program = program(entry.path(), &directory, &name);
            found.entry(name).or_insert(program);
        }
    }
    let named = found.into_iter().filter_map(|(name, file)| Some((name, file?)));
    Ok(named.collect())
}

/// The program in `file`. None if it isn't one; a file that isn't executable is logged.
///
/// One that can't be looked at counts as a program that fails: what it would do before a reboot is not known.
fn program(file: PathBuf, directory: &str, name: &str) -> Option<ProgramFile> {
    let shown = || printable(&format!("{directory}/{name}")).into_owned();
    match fs::metadata(&file) {
        Ok(found) if !found.is_file() => None,
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            tracing::warn!("{} is not executable: it does not run", shown());
            None
        }
        Ok(_) => Some(Ok(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Removed since the directory was read, or a link to nothing.
            file.is_symlink().then(|| Err(ProgramVeto::LeadsNowhere(shown())))
        }
        Err(error) => Some(Err(ProgramVeto::Unknown(shown(), error))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn install(host: &Host, path: &str, script: &str) {
        let path = host.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn programs_run_by_name_until_one_refuses_with_its_last_line() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        run_until_refused(&host, Moment::PreReboot, "2").await.unwrap();
        let spoken = host.path("/said");
        let tell = |what: &str| format!("echo {what} $1 >> '{}'", spoken.display());
        install(
            &host,
            "/usr/lib/update-engine/pre-reboot.d/10-drain",
            &tell("hidden"),
        );
        install(&host, "/etc/update-engine/pre-reboot.d/10-drain", &tell("drain"));
        install(&host, "/etc/update-engine/pre-reboot.d/.hidden", &tell("hidden"));
        let backup = "echo looking; echo the backup is not done; exit 3";
        install(&host, "/usr/lib/update-engine/pre-reboot.d/20-backup", backup);
        install(&host, "/etc/update-engine/pre-reboot.d/30-late", &tell("late"));
        let outcome = run_until_refused(&host, Moment::PreReboot, "2.0.0").await;
        let why = "pre-reboot.d/20-backup refuses: the backup is not done";
        assert_eq!(outcome.unwrap_err().to_string(), why);
        assert_eq!(fs::read_to_string(&spoken).unwrap(), "drain 2.0.0\n");
    }

    #[tokio::test]
    async fn a_link_that_leads_nowhere_refuses_and_other_files_are_none() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let late = host.path("/late");
        let touch = format!("touch '{}'", late.display());
        install(&host, "/usr/lib/update-engine/pre-reboot.d/30-late", &touch);
        install(&host, "/usr/lib/update-engine/pre-reboot.d/10-hidden", "exit 1");
        let directory = host.path("/etc/update-engine/pre-reboot.d");
        fs::create_dir_all(directory.join("15-directory")).unwrap();
        fs::write(directory.join("16-README"), "not executable").unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, directory.join(name)).unwrap();
        link("/dev/null", "10-hidden");
        link("/opt/drain/that/was/never/installed", "20-drain");
        let outcome = run_until_refused(&host, Moment::PreReboot, "2").await;
        let why = "/etc/update-engine/pre-reboot.d/20-drain is a link that leads nowhere";
        assert_eq!(outcome.unwrap_err().to_string(), why);
        assert!(!late.exists());
        fs::remove_file(directory.join("20-drain")).unwrap();
        run_until_refused(&host, Moment::PreReboot, "2").await.unwrap();
        assert!(late.exists());
    }
}
