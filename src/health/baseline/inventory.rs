//! The inventory of a running system: its units, merged extensions and routes, as far as the gate
//! needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Properties of a unit by their names, with values in the form of `systemctl show`.
pub type UnitProperties = BTreeMap<String, String>;

/// Exit status by which systemd says that it couldn't execute a program.
const EXIT_EXEC: i32 = 203;
/// Settings by which a unit's processes see other files than the host has at a path.
const OWN_FILES: [&str; 8] = [
    "RootDirectory",
    "RootImage",
    "MountImages",
    "ExtensionImages",
    "ExtensionDirectories",
    "BindPaths",
    "BindReadOnlyPaths",
    "TemporaryFileSystem",
];
/// `si_code` of a process that exited by itself.
const CLD_EXITED: i32 = 1;

/// One look at a running system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Time since the boot.
    pub up: Duration,
    /// The state of the system as a whole.
    pub system: SystemState,
    /// Units by name. One that is missing here was not looked at: nothing is known of it.
    pub units: BTreeMap<String, UnitFacts>,
    /// System extensions, over `/usr` and `/opt`.
    pub extensions: ExtensionFacts,
    /// Configuration extensions, over `/etc`.
    pub confexts: ExtensionFacts,
    /// Files of units by path, as they are now; one that is missing here doesn't exist.
    pub files: BTreeMap<String, FileStamp>,
    /// Those of these files that are links which lead nowhere, each with the path where it leads.
    pub dangling: BTreeMap<String, String>,
    /// Whether there is a default route, by IPv4 or IPv6.
    pub default_route: bool,
}

/// systemd's `SystemState`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SystemState {
    /// Jobs of the boot are still queued.
    Starting,
    /// The boot is over, whether or not units have failed.
    #[default]
    Up,
    /// The system is shutting down.
    Stopping,
}

impl SystemState {
    /// The state called `word`, as systemd has it.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "initializing" | "starting" => Self::Starting,
            "stopping" => Self::Stopping,
            _ => Self::Up,
        }
    }
}

/// Where a unit's file comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitOrigin {
    /// The operator: `/etc` or `/usr/local`.
    Operator,
    /// The system extension of this name.
    Extension(String),
    /// The configuration extension of this name.
    Confext(String),
    /// The image; or a version that is not known here.
    #[default]
    Image,
    /// A generator, such as the one for `/etc/fstab`.
    Generated,
    /// Whoever wrote it to `/run` in this boot, or made it without a file.
    Runtime,
    /// No file.
    Nowhere,
}

impl UnitOrigin {
    /// The origin of the unit file at `path`, unless an extension brought it.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let is_below = |directory: &str| path.starts_with(directory);
        if path.is_empty() {
            Self::Nowhere
        } else if is_below("/etc/") || is_below("/usr/local/") {
            Self::Operator
        } else if is_below("/run/systemd/generator") {
            Self::Generated
        } else if is_below("/run/") {
            Self::Runtime
        } else {
            Self::Image
        }
    }
}

/// What was found of the program of a unit whose main process couldn't be executed, or that was
/// restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProgramState {
    /// Nobody has looked, or nothing is wrong with it as far as files tell.
    #[default]
    Unremarkable,
    /// There is no file at this path.
    Missing(String),
    /// The script is there, and its interpreter at this path is not.
    InterpreterMissing(String),
}

/// Size and time of a file, links not followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Bytes.
    pub size: u64,
    /// Time of the last change of its contents, in nanoseconds since 1970.
    pub modified: i64,
}

/// The state of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitFacts {
    /// `LoadState`: `loaded`, `not-found`, `bad-setting`, `error`, `masked`.
    pub load: String,
    /// `ActiveState`: `active`, `inactive`, `failed`, `activating` …
    pub active: String,
    /// `SubState`, such as `running` or `auto-restart`.
    pub sub: String,
    /// `UnitFileState`, such as `enabled` or `static`; may be empty.
    pub enablement: String,
    /// `Result` of the unit's kind, such as `exit-code`; may be empty.
    pub result: String,
    /// Exit code of the main process, if it has exited by itself.
    pub exit_code: Option<i32>,
    /// `NRestarts`: automatic restarts.
    pub restarts: u32,
    /// When it last became active, in microseconds since the boot; 0 for never.
    pub active_since: u64,
    /// Whether a job for it is queued or runs.
    pub has_job: bool,
    /// Whether its conditions held when it was last started.
    pub conditions_held: bool,
    /// `FragmentPath`; may be empty.
    pub fragment: String,
    /// `DropInPaths`.
    pub drop_ins: Vec<String>,
    /// Path of the program of the first `ExecStart=`; may be empty.
    pub program: String,
    /// Whether its processes see files of the host elsewhere, or others in their place.
    pub has_own_files: bool,
    /// What is wrong with the program.
    pub program_state: ProgramState,
    /// Where the unit's file comes from.
    pub origin: UnitOrigin,
}

impl UnitFacts {
    /// The facts that `properties` tell. `extension` is the origin of the unit's file if an
    /// extension brought it; else the path of the file tells.
    #[must_use]
    pub fn of(properties: &UnitProperties, extension: Option<UnitOrigin>) -> Self {
        let text = |name: &str| properties.get(name).cloned().unwrap_or_default();
        let number = |name: &str| text(name).parse::<u64>().unwrap_or_default();
        let is = |name: &str| matches!(text(name).as_str(), "yes" | "true" | "1");
        let exited = text("ExecMainCode") == CLD_EXITED.to_string() || text("ExecMainCode") == "exited";
        let fragment = text("FragmentPath");
        Self {
            load: text("LoadState"),
            active: text("ActiveState"),
            sub: text("SubState"),
            enablement: text("UnitFileState"),
            result: text("Result"),
            exit_code: text("ExecMainStatus").parse().ok().filter(|_| exited),
            restarts: u32::try_from(number("NRestarts")).unwrap_or(u32::MAX),
            active_since: number("ActiveEnterTimestampMonotonic"),
            has_job: !matches!(text("Job").as_str(), "" | "0"),
            conditions_held: !matches!(text("ConditionResult").as_str(), "no" | "false" | "0"),
            origin: match extension {
                _ if is("Transient") => UnitOrigin::Runtime,
                Some(extension) => extension,
                None => UnitOrigin::of_path(&fragment),
            },
            fragment,
            drop_ins: text("DropInPaths")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            program: first_program(&text("ExecStart")),
            has_own_files: OWN_FILES.iter().any(|name| !text(name).is_empty()),
            program_state: ProgramState::Unremarkable,
        }
    }

    /// Whether the unit is up.
    #[must_use]
    pub fn is_active(&self) -> bool {
        // The other two are an active unit that takes up new settings or credentials.
        matches!(self.active.as_str(), "active" | "reloading" | "refreshing")
    }

    /// Whether systemd tries it again and again.
    #[must_use]
    pub fn is_restarting(&self) -> bool {
        self.sub.starts_with("auto-restart")
    }

    /// Whether the program of its main process couldn't be executed, and it doesn't run.
    #[must_use]
    pub fn is_not_executable(&self) -> bool {
        self.exit_code == Some(EXIT_EXEC) && !self.is_active()
    }

    /// Whether an operator has masked it.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.load == "masked" || self.enablement.starts_with("masked")
    }

    /// The files of the unit that an operator may change: not those of the image.
    pub fn changeable_files(&self) -> impl Iterator<Item = &String> {
        let is_changeable = |path: &&String| {
            !path.is_empty()
                && !matches!(
                    UnitOrigin::of_path(path),
                    UnitOrigin::Image | UnitOrigin::Generated
                )
        };
        std::iter::once(&self.fragment)
            .chain(&self.drop_ins)
            .filter(is_changeable)
    }
}

/// The path in `ExecStart`, which `systemctl show` prints as `{ path=/bin/x ; argv[]=… }`; a bare
/// path is one, too.
fn first_program(exec_start: &str) -> String {
    let path = match exec_start.split_once("path=") {
        Some((_, rest)) => rest.split(" ;").next().unwrap_or_default(),
        None => exec_start,
    };
    path.trim().to_owned()
}

/// The extensions of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtensionFacts {
    /// Names of those that are merged, by the mount table.
    pub merged: BTreeSet<String>,
    /// What systemd would find in its search path, by name.
    pub offered: BTreeMap<String, ExtensionOffer>,
}

/// An extension in systemd's search path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionOffer {
    /// Its path on the host: the first one in the search path.
    pub path: String,
    /// Whether it is there.
    pub state: OfferState,
    /// Size and time of the file, or of a directory with what it says of itself; none where a link
    /// leads into the image, or to a file that initrds choose for each version.
    pub stamp: Option<FileStamp>,
    /// Whether the image offers it: its path, or where that links to, is in `/usr` or `/run`.
    pub is_images: bool,
}

/// Whether an offered extension can be merged at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferState {
    /// It is a file or a directory.
    There,
    /// An empty directory, or a link to `/dev/null`: it hides others of its name.
    Masked,
    /// A link that leads nowhere.
    Dangling,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(text: &str) -> UnitProperties {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn properties_are_read_in_the_form_of_systemctl_show() {
        let facts = UnitFacts::of(
            &properties(
                "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled\n\
                 Result=exit-code\nExecMainCode=1\nExecMainStatus=203\nNRestarts=4\nTransient=no\n\
                 ActiveEnterTimestampMonotonic=7000001\nConditionResult=yes\nJob=77\n\
                 FragmentPath=/etc/systemd/system/a.service\n\
                 DropInPaths=/etc/systemd/system/a.service.d/1.conf /usr/lib/systemd/system/service.d/2.conf\n\
                 ExecStart={ path=/usr/bin/a b ; argv[]=/usr/bin/a b --c ; ignore_errors=no ; pid=0 }",
            ),
            None,
        );
        assert!(facts.is_restarting() && facts.is_not_executable() && !facts.is_active() && facts.has_job);
        assert_eq!(
            (
                facts.restarts,
                facts.active_since,
                facts.program.as_str(),
                &facts.origin
            ),
            (4, 7_000_001, "/usr/bin/a b", &UnitOrigin::Operator)
        );
        let files: Vec<&String> = facts.changeable_files().collect();
        assert_eq!(
            files,
            [
                "/etc/systemd/system/a.service",
                "/etc/systemd/system/a.service.d/1.conf"
            ]
        );
    }

    #[test]
    fn nothing_is_what_no_property_tells() {
        let facts = UnitFacts::of(&UnitProperties::new(), None);
        assert!(!facts.is_active() && !facts.is_not_executable() && facts.conditions_held);
        assert_eq!(facts.origin, UnitOrigin::Nowhere);
    }

    #[test]
    fn the_path_of_a_file_tells_its_origin() {
        for (path, origin) in [
            ("/etc/systemd/system/a.service", UnitOrigin::Operator),
            ("/usr/local/lib/systemd/system/a.service", UnitOrigin::Operator),
            ("/usr/lib/systemd/system/a.service", UnitOrigin::Image),
            ("/lib/systemd/system/a.service", UnitOrigin::Image),
            ("/run/systemd/generator.late/a.service", UnitOrigin::Generated),
            ("/run/systemd/generator/data.mount", UnitOrigin::Generated),
            ("/run/systemd/system/a.service", UnitOrigin::Runtime),
            ("", UnitOrigin::Nowhere),
        ] {
            assert_eq!(UnitOrigin::of_path(path), origin, "{path}");
        }
    }
}
