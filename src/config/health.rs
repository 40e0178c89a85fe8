//! When a freshly booted slot counts as healthy: `HEALTH_UNITS`, `HEALTH_SETTLE`, `HEALTH_DEADLINE`.

use std::time::Duration;

/// What must hold before the running slot is marked good, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// `HEALTH_UNITS`: systemd units that must be active, separated by white space; none by default. A name
    /// without a suffix is a service's.
    pub units: Vec<String>,
    /// `HEALTH_SETTLE`, in seconds: how long everything must hold without a break; 45 by default.
    pub settle: Duration,
    /// `HEALTH_DEADLINE`, in seconds: how long health may take to be established; 600 by default, and 0
    /// (here nothing) for as long as it takes.
    pub deadline: Option<Duration>,
    /// Settings that are no number of seconds and have their default instead, as `KEY=value`.
    pub refused: Vec<String>,
}

const SETTLE: Duration = Duration::from_secs(45);
const DEADLINE: Duration = Duration::from_secs(600);

impl HealthSettings {
    pub(super) fn read<'a>(setting: impl Fn(&'static str) -> Option<&'a str>) -> Self {
        let mut refused = Vec::new();
        let mut seconds = |key, default| match setting(key) {
            None | Some("") => default,
            Some(value) => value.parse().map_or_else(
                |_| {
                    refused.push(format!("{key}={value}"));
                    default
                },
                |seconds: u32| Duration::from_secs(seconds.into()),
            ),
        };
        let settle = seconds("HEALTH_SETTLE", SETTLE);
        let deadline = seconds("HEALTH_DEADLINE", DEADLINE);
        let units = setting("HEALTH_UNITS").unwrap_or_default();
        Self {
            units: units.split_whitespace().map(unit_name).collect(),
            settle,
            deadline: Some(deadline).filter(|deadline| !deadline.is_zero()),
            refused,
        }
    }
}

fn unit_name(name: &str) -> String {
    if name.contains('.') {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}
