//! Settings of the health gate: `HEALTH_…`.

use std::time::Duration;

use super::setting::Place;
use super::sources::ConfigFiles;
use super::table;
use crate::host::Unreadable;

/// What must hold before the running slot is marked good, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// `HEALTH_UNITS`: systemd units that must be active, separated by white space; none by
    /// default. A name without a suffix is a service's.
    pub units: Vec<UnitName>,
    /// Words of `HEALTH_UNITS` that can't be the name of a unit: nobody knows what they require.
    pub no_units: Vec<String>,
    /// `HEALTH_SETTLE`, in seconds: how long everything must hold without a break; 45 by default.
    pub settle: Duration,
    /// `HEALTH_DEADLINE`, in seconds: how long health may take to be established; 600 by default,
    /// and 0 (here nothing) for as long as it takes.
    pub deadline: Option<Duration>,
    /// `HEALTH_REGRESSIONS`: what follows from what was lost with an update.
    pub regressions: RegressionMode,
    /// `HEALTH_EXCUSED`: units of which nothing is required after an update; none by default.
    pub excused: Vec<UnitName>,
    /// Words of `HEALTH_EXCUSED` that can't be the name of a unit.
    pub no_excused: Vec<String>,
}

/// What follows when a new slot has lost what was well before the update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RegressionMode {
    /// The node goes back if that is certain.
    #[default]
    RollBack,
    /// It is reported.
    Report,
    /// Nothing is recorded or compared.
    Off,
}

impl RegressionMode {
    /// Its word in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RollBack => "rollback",
            Self::Report => "report",
            Self::Off => "off",
        }
    }
}

impl HealthSettings {
    /// Default of `HEALTH_SETTLE`.
    pub const SETTLE: Duration = Duration::from_secs(45);

    /// Reads these settings alone, from the files that may hold them; `read` as for
    /// [`super::Config::load`].
    ///
    /// # Errors
    /// The first of those files that can't be read.
    pub fn load(read: impl Fn(&str) -> Result<Option<Vec<u8>>, Unreadable>) -> Result<Self, Unreadable> {
        Ok(Self::from_sources(&ConfigFiles::read(&[Place::Update], read)?))
    }

    pub(super) fn from_sources(sources: &ConfigFiles) -> Self {
        let seconds = |setting| Duration::from_secs(sources.number(setting));
        let (units, no_units) = unit_names(&sources.text(&table::HEALTH_UNITS));
        let (excused, no_excused) = unit_names(&sources.text(&table::HEALTH_EXCUSED));
        Self {
            units,
            no_units,
            settle: seconds(&table::HEALTH_SETTLE),
            deadline: Some(seconds(&table::HEALTH_DEADLINE)).filter(|deadline| !deadline.is_zero()),
            regressions: match sources.find(&table::HEALTH_REGRESSIONS).value {
                "report" => RegressionMode::Report,
                "off" => RegressionMode::Off,
                _ => RegressionMode::RollBack,
            },
            excused,
            no_excused,
        }
    }

    /// What operators should know about what they wrote.
    pub(super) fn lint(&self) -> impl Iterator<Item = String> {
        let required = self.no_units.iter().map(|word| {
            format!("HEALTH_UNITS has {word:?}, which can't be a unit's name: no new slot is marked good until it is corrected")
        });
        let excused = self.no_excused.iter().map(|word| {
            format!("HEALTH_EXCUSED has {word:?}, which can't be a unit's name: it excuses nothing")
        });
        required.chain(excused)
    }
}

/// The names of units in `text`, and the words that can't be one.
fn unit_names(text: &str) -> (Vec<UnitName>, Vec<String>) {
    let (mut units, mut others) = (Vec::new(), Vec::new());
    for word in text.split_whitespace() {
        match UnitName::new(word) {
            Some(unit) => units.push(unit),
            None => others.push(word.to_owned()),
        }
    }
    (units, others)
}

/// The name of a unit that systemd can be asked about, its suffix included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitName(String);

impl UnitName {
    /// As long as systemd takes them.
    const LONGEST: usize = 255;

    const SUFFIXES: [&str; 11] = [
        "service",
        "socket",
        "device",
        "mount",
        "automount",
        "swap",
        "target",
        "path",
        "timer",
        "slice",
        "scope",
    ];

    /// `text`, with the suffix of a service if it has none of a unit; nothing if no unit can be
    /// called so.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let has_suffix = |(_, suffix): (&str, &str)| Self::SUFFIXES.contains(&suffix);
        let name = if text.rsplit_once('.').is_some_and(has_suffix) {
            text.to_owned()
        } else {
            format!("{text}.service")
        };
        let (stem, _) = name.rsplit_once('.')?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
        // What stands before an `@` is a template, which is started as nothing without an instance.
        let is_whole = !stem.is_empty() && !stem.starts_with('@') && !stem.ends_with('@');
        (is_whole && name.len() <= Self::LONGEST && name.chars().all(fits)).then_some(Self(name))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_units_suffix_is_a_services() {
        let cases = [
            ("kubelet", "kubelet.service"),
            ("data.mount", "data.mount"),
            ("org.example.agent", "org.example.agent.service"),
            ("getty@tty1", "getty@tty1.service"),
            (
                "dev-disk-by\\x2dlabel-OEM.device",
                "dev-disk-by\\x2dlabel-OEM.device",
            ),
        ];
        for (text, name) in cases {
            assert_eq!(UnitName::new(text).unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_no_unit_can_be_called_is_no_name() {
        let long = "x".repeat(248);
        for text in [
            "",
            "a/b",
            "@",
            "@x",
            "x@",
            "x@.service",
            ".service",
            "grün",
            "a,b",
            "\"a",
            "a;",
            "$x",
            &long,
        ] {
            assert_eq!(UnitName::new(text), None, "{text:?}");
        }
        assert!(UnitName::new(&"x".repeat(247)).is_some());
    }
}
