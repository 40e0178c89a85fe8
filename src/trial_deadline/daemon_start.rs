//! The check whether the daemon will run in this boot: a slot that no daemon would mark good has no
//! deadline.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::host::Host;
use crate::host::subprocess::{Finished, Subprocess, SubprocessError};
use crate::journal::chain;

const UNIT: &str = "update-engine.service";
const SYSTEMCTL: &str = "/usr/bin/systemctl";
/// systemd answers at once or hangs.
const PATIENCE: Duration = Duration::from_secs(10);
const PROPERTIES: &str = "--property=LoadState,ActiveState,Job,ConditionResult,ConditionTimestampMonotonic,\
                          ActiveEnterTimestampMonotonic";
/// Directories of units, the first file of a name counts.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];
/// The target of a boot, unless the command line names another one.
const DEFAULT_TARGET: &str = "default.target";
/// Targets that bring each other's units.
const TARGETS: [&str; 2] = ["multi-user.target", "graphical.target"];
/// Links from one name of a unit to the next that are followed.
const MOST_LINKS: usize = 8;
/// Words of the kernel's command line for other targets than the default one.
const OTHER_TARGETS: [&str; 10] = [
    "1",
    "2",
    "4",
    "s",
    "S",
    "single",
    "rescue",
    "emergency",
    "-b",
    "-s",
];

/// Whether the daemon is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonStart {
    /// It runs, is about to, or has failed to.
    Meant,
    /// Somebody doesn't want it to, in a sentence.
    NotMeant(String),
    /// It neither runs nor is about to, and was never started.
    NotStarted,
    /// That can't be told, and why.
    Unknown(String),
}

/// Why systemd doesn't say.
#[derive(Debug, thiserror::Error)]
enum SystemctlError {
    #[error(transparent)]
    Runtime(#[from] io::Error),
    #[error(transparent)]
    Subprocess(#[from] SubprocessError),
    #[error("systemctl ended with {status}: {output}")]
    Ended { status: ExitStatus, output: String },
}

/// Why the daemon is certain not to start with this command line of the kernel.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NotByCommandLine<'a> {
    #[error("{UNIT} is masked on the kernel's command line")]
    Masked,
    #[error("the kernel's command line has {0}")]
    OtherTarget(&'a str),
}

impl DaemonStart {
    /// By systemd, where that runs; else, as in an initrd, by the files of the system that is about
    /// to.
    pub(super) fn look(host: &Host) -> Self {
        if host.has_systemd() {
            Self::ask().unwrap_or_else(|error| Self::Unknown(chain(&error)))
        } else {
            Self::in_files(host)
        }
    }

    fn ask() -> Result<Self, SystemctlError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let systemctl = Subprocess::new(Path::new(SYSTEMCTL), PATIENCE).args(["show", PROPERTIES, UNIT]);
        let Finished { status, output, .. } = runtime.block_on(systemctl.run_quietly())?;
        if !status.success() {
            return Err(SystemctlError::Ended {
                status,
                output: output.to_string(),
            });
        }
        Ok(Self::of_properties(&output.to_string()))
    }

    /// By what `systemctl show` prints.
    fn of_properties(text: &str) -> Self {
        let property = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines
                .find(|(found, _)| *found == key)
                .map_or("", |(_, value)| value)
        };
        let is_set = |key: &str| !matches!(property(key), "" | "0");
        match property("LoadState") {
            "" => return Self::Unknown(format!("systemctl says {text:?}")),
            "masked" => return Self::NotMeant(format!("{UNIT} is masked")),
            "not-found" => return Self::NotMeant(format!("there is no {UNIT}")),
            // Somebody wants it to run, and what makes it up can't be understood.
            "bad-setting" | "error" => return Self::Meant,
            _ => {}
        }
        if property("ActiveState") != "inactive" || is_set("Job") {
            return Self::Meant;
        }
        if is_set("ConditionTimestampMonotonic") && property("ConditionResult") == "no" {
            return Self::NotMeant(format!("a condition of {UNIT} does not hold"));
        }
        if is_set("ActiveEnterTimestampMonotonic") {
            return Self::NotMeant(format!("{UNIT} was stopped"));
        }
        Self::NotStarted
    }

    fn in_files(host: &Host) -> Self {
        if host.path("/usr/.noupdate").exists() {
            return Self::NotMeant("/usr/.noupdate is there".to_owned());
        }
        let command_line = fs::read_to_string(host.path("/proc/cmdline")).unwrap_or_default();
        let target = match target_of(&command_line) {
            Ok(target) => target,
            Err(other) => return Self::NotMeant(other.to_string()),
        };
        if unit_file(host, UNIT).is_none() {
            return Self::NotMeant(format!("there is no {UNIT}"));
        }
        if is_masked(host, UNIT) {
            return Self::NotMeant(format!("{UNIT} is masked"));
        }
        let target = resolved(host, target.unwrap_or(DEFAULT_TARGET));
        let targets = if TARGETS.contains(&target.as_str()) {
            TARGETS.map(str::to_owned).to_vec()
        } else {
            vec![target]
        };
        let is_wanted = targets.iter().any(|target| {
            let wants = format!("{target}.wants/{UNIT}");
            let mut wants = UNITS.iter().map(|directory| host.path(directory).join(&wants));
            wants.any(|wants| fs::symlink_metadata(wants).is_ok())
        });
        if is_wanted { Self::Meant } else { Self::NotStarted }
    }
}

/// The file of `unit` that counts.
fn unit_file(host: &Host, unit: &str) -> Option<(fs::Metadata, PathBuf)> {
    let files = UNITS.iter().map(|directory| host.path(directory).join(unit));
    let mut files = files.filter_map(|file| Some((fs::symlink_metadata(&file).ok()?, file)));
    files.next()
}

/// Whether the file of `unit` that counts is a mask.
pub(super) fn is_masked(host: &Host, unit: &str) -> bool {
    unit_file(host, unit).is_some_and(|(found, file)| is_mask(&found, &file))
}

/// The name under which `target` starts. A default one that no file tells is the usual.
fn resolved(host: &Host, target: &str) -> String {
    let mut name = target.to_owned();
    for _ in 0..MOST_LINKS {
        let link = unit_file(host, &name).and_then(|(_, file)| fs::read_link(file).ok());
        match link.as_deref().and_then(Path::file_name) {
            Some(next) => name = next.to_string_lossy().into_owned(),
            None => break,
        }
    }
    if name == DEFAULT_TARGET {
        TARGETS[0].clone_into(&mut name);
    }
    name
}

/// An empty file or a link to `/dev/null`.
fn is_mask(found: &fs::Metadata, file: &Path) -> bool {
    if found.is_symlink() {
        return fs::read_link(file).is_ok_and(|target| target == Path::new("/dev/null"));
    }
    found.is_file() && found.len() == 0
}

/// The target that this command line of the kernel names, if it names one; why the daemon doesn't start
/// with it, if that is certain.
fn target_of(command_line: &str) -> Result<Option<&str>, NotByCommandLine<'_>> {
    let words = command_line.split_ascii_whitespace();
    // What follows is the first program's.
    let words = words.take_while(|word| *word != "--");
    let mut target = Ok(None);
    for word in words {
        if word.strip_prefix("systemd.mask=") == Some(UNIT) {
            return Err(NotByCommandLine::Masked);
        }
        if let Some(unit) = word.strip_prefix("systemd.unit=") {
            target = Ok(Some(unit));
        } else if OTHER_TARGETS.contains(&word) {
            target = Err(NotByCommandLine::OtherTarget(word));
        }
    }
    target
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn not_meant(why: &str) -> DaemonStart {
        DaemonStart::NotMeant(why.to_owned())
    }

    #[test]
    fn systemd_tells_what_is_meant_from_what_has_failed() {
        let inactive = "LoadState=loaded\nActiveState=inactive\n";
        let never = "ConditionResult=no\nConditionTimestampMonotonic=0\nActiveEnterTimestampMonotonic=0\n";
        for (text, expected) in [
            (format!("{inactive}{never}Job=173\n"), DaemonStart::Meant),
            (
                format!("LoadState=loaded\nActiveState=activating\n{never}"),
                DaemonStart::Meant,
            ),
            (
                "LoadState=loaded\nActiveState=failed\n".to_owned(),
                DaemonStart::Meant,
            ),
            (
                "LoadState=loaded\nActiveState=active\n".to_owned(),
                DaemonStart::Meant,
            ),
            (format!("{inactive}{never}"), DaemonStart::NotStarted),
            (
                format!("{inactive}ConditionResult=no\nConditionTimestampMonotonic=7\n"),
                not_meant("a condition of update-engine.service does not hold"),
            ),
            (
                format!(
                    "{inactive}ConditionResult=yes\nConditionTimestampMonotonic=7\nActiveEnterTimestampMonotonic=8\n"
                ),
                not_meant("update-engine.service was stopped"),
            ),
            (
                "LoadState=masked\nActiveState=inactive\n".to_owned(),
                not_meant("update-engine.service is masked"),
            ),
            (
                "LoadState=not-found\nActiveState=inactive\n".to_owned(),
                not_meant("there is no update-engine.service"),
            ),
            (
                format!("LoadState=bad-setting\nActiveState=inactive\n{never}"),
                DaemonStart::Meant,
            ),
            (
                "?".to_owned(),
                DaemonStart::Unknown("systemctl says \"?\"".to_owned()),
            ),
        ] {
            assert_eq!(DaemonStart::of_properties(&text), expected, "{text}");
        }
    }

    #[test]
    fn without_systemd_the_files_of_the_system_tell() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let look = || DaemonStart::look(&host);
        assert_eq!(look(), not_meant("there is no update-engine.service"));
        let image = host.path("/usr/lib/systemd/system");
        fs::create_dir_all(image.join("multi-user.target.wants")).unwrap();
        fs::write(image.join(UNIT), "[Service]\n").unwrap();
        assert_eq!(look(), DaemonStart::NotStarted);
        symlink(
            format!("../{UNIT}"),
            image.join("multi-user.target.wants").join(UNIT),
        )
        .unwrap();
        assert_eq!(look(), DaemonStart::Meant);
        let etc = host.path("/etc/systemd/system");
        fs::create_dir_all(&etc).unwrap();
        symlink("/dev/null", etc.join(UNIT)).unwrap();
        assert_eq!(look(), not_meant("update-engine.service is masked"));
        fs::remove_file(etc.join(UNIT)).unwrap();
        fs::write(host.path("/usr/.noupdate"), "").unwrap();
        assert_eq!(look(), not_meant("/usr/.noupdate is there"));
    }

    #[test]
    fn the_command_line_may_mask_it_or_name_a_target_without_it() {
        for (line, target) in [
            ("quiet", None),
            ("systemd.unit=kdump.target", Some("kdump.target")),
            ("rescue systemd.unit=graphical.target", Some("graphical.target")),
            ("-- rescue", None),
        ] {
            assert_eq!(target_of(line), Ok(target), "{line}");
        }
        for line in ["systemd.mask=update-engine.service", "single"] {
            assert!(target_of(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_target_that_the_boot_is_for_tells_whether_it_starts() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let image = host.path("/usr/lib/systemd/system");
        fs::create_dir_all(image.join("multi-user.target.wants")).unwrap();
        fs::write(image.join(UNIT), "[Service]\n").unwrap();
        symlink(
            format!("../{UNIT}"),
            image.join("multi-user.target.wants").join(UNIT),
        )
        .unwrap();
        let etc = host.path("/etc/systemd/system");
        fs::create_dir_all(&etc).unwrap();
        fs::create_dir_all(host.path("/proc")).unwrap();
        symlink("multi-user.target", image.join("runlevel3.target")).unwrap();
        for (default, command_line, expected) in [
            ("graphical.target", "", DaemonStart::Meant),
            ("/usr/lib/systemd/system/runlevel3.target", "", DaemonStart::Meant),
            ("default.target", "", DaemonStart::Meant),
            ("kdump.target", "", DaemonStart::NotStarted),
            (
                "kdump.target",
                "systemd.unit=multi-user.target",
                DaemonStart::Meant,
            ),
            (
                "graphical.target",
                "systemd.unit=rescue.target",
                DaemonStart::NotStarted,
            ),
        ] {
            let link = etc.join(DEFAULT_TARGET);
            symlink(default, &link).unwrap();
            fs::write(host.path("/proc/cmdline"), command_line).unwrap();
            assert_eq!(DaemonStart::look(&host), expected, "{default} {command_line}");
            fs::remove_file(link).unwrap();
        }
        fs::write(host.path("/proc/cmdline"), "quiet").unwrap();
        fs::create_dir_all(etc.join("site.target.wants")).unwrap();
        symlink("/x", etc.join("site.target.wants").join(UNIT)).unwrap();
        symlink("site.target", etc.join(DEFAULT_TARGET)).unwrap();
        assert_eq!(DaemonStart::look(&host), DaemonStart::Meant);
    }
}
