//! Whether the daemon is to run in this boot: a slot that nobody would mark good has no deadline.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::host::Host;
use crate::host::subprocess::Subprocess;
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
/// Targets other than the default one in which it is known to start.
const TARGETS: [&str; 2] = ["multi-user.target", "graphical.target"];
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

impl DaemonStart {
    /// By systemd, where that runs; else, as in an initrd, by the files of the system that is about
    /// to.
    pub(super) fn look(host: &Host) -> Self {
        if host.has_systemd() {
            Self::ask().unwrap_or_else(Self::Unknown)
        } else {
            Self::in_files(host)
        }
    }

    fn ask() -> Result<Self, String> {
        let told = |error: io::Error| chain(&error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(told)?;
        let systemctl = Subprocess::new(Path::new(SYSTEMCTL), PATIENCE).args(["show", PROPERTIES, UNIT]);
        let finished = runtime.block_on(systemctl.run_quietly());
        let finished = finished.map_err(|error| chain(&error))?;
        if !finished.status.success() {
            return Err(format!(
                "systemctl ended with {}: {}",
                finished.status, finished.output
            ));
        }
        Ok(Self::of_properties(&finished.output.to_string()))
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
        if let Some(why) = kept_from_starting(&command_line) {
            return Self::NotMeant(why);
        }
        let units = UNITS.map(|directory| host.path(directory));
        let file = units.iter().map(|directory| directory.join(UNIT));
        let file = file.filter_map(|file| Some((fs::symlink_metadata(&file).ok()?, file)));
        match file.into_iter().next() {
            None => return Self::NotMeant(format!("there is no {UNIT}")),
            Some((found, file)) if is_mask(&found, &file) => {
                return Self::NotMeant(format!("{UNIT} is masked"));
            }
            Some(_) => {}
        }
        let is_wanted = units.iter().any(|directory| {
            TARGETS.iter().any(|target| {
                let wants = directory.join(format!("{target}.wants")).join(UNIT);
                fs::symlink_metadata(wants).is_ok()
            })
        });
        if is_wanted { Self::Meant } else { Self::NotStarted }
    }
}

/// An empty file or a link to `/dev/null`.
fn is_mask(found: &fs::Metadata, file: &Path) -> bool {
    if found.is_symlink() {
        return fs::read_link(file).is_ok_and(|target| target == Path::new("/dev/null"));
    }
    found.is_file() && found.len() == 0
}

/// Why the daemon doesn't start with this command line of the kernel, if it doesn't.
fn kept_from_starting(command_line: &str) -> Option<String> {
    let words = command_line.split_ascii_whitespace();
    // What follows is the first program's.
    let words = words.take_while(|word| *word != "--");
    let mut target = None;
    for word in words {
        if word.strip_prefix("systemd.mask=") == Some(UNIT) {
            return Some(format!("{UNIT} is masked on the kernel's command line"));
        }
        if let Some(unit) = word.strip_prefix("systemd.unit=") {
            target = (!TARGETS.contains(&unit)).then_some(word);
        } else if OTHER_TARGETS.contains(&word) {
            target = Some(word);
        }
    }
    let target = target?;
    Some(format!("the kernel's command line has {target}"))
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
        for line in [
            "quiet",
            "systemd.unit=multi-user.target",
            "rescue systemd.unit=graphical.target",
            "-- rescue",
        ] {
            assert_eq!(kept_from_starting(line), None, "{line}");
        }
        for line in [
            "systemd.mask=update-engine.service",
            "systemd.unit=rescue.target",
            "systemd.unit=kdump.target",
            "single",
        ] {
            assert!(kept_from_starting(line).is_some(), "{line}");
        }
    }
}
