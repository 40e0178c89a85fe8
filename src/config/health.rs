//! When a freshly booted slot counts as healthy: `HEALTH_UNITS`, `HEALTH_SETTLE`, `HEALTH_DEADLINE`.

use std::time::Duration;

use super::sources::Sources;
use super::table;

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
}

impl HealthSettings {
    pub(super) fn read(sources: &Sources) -> Self {
        let seconds = |setting| Duration::from_secs(sources.number(setting));
        Self {
            units: sources
                .text(&table::HEALTH_UNITS)
                .split_whitespace()
                .map(unit_name)
                .collect(),
            settle: seconds(&table::HEALTH_SETTLE),
            deadline: Some(seconds(&table::HEALTH_DEADLINE)).filter(|deadline| !deadline.is_zero()),
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
