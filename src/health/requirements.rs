//! The requirements of a slot on trial: one list that says both whether anything is required and
//! whether it is met.

use super::checks::{self, Check};
use crate::config::{HealthSettings, UnitName};
use crate::host::{Host, Unreadable};

/// A requirement: a unit or a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// The unit is active.
    Unit(UnitName),
    /// The check ends with 0.
    Check(Check),
}

/// The errors that keep the requirements from being known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// A file or directory of the administrator's can't be read.
    #[error("{path} can't be read: {reason}")]
    Unreadable {
        /// Its path.
        path: String,
        /// The reason for which it can't be read.
        reason: String,
    },
    /// A word of `HEALTH_UNITS` can't be the name of a unit.
    #[error("HEALTH_UNITS has {0:?}, which can't be a unit's name")]
    NoUnit(String),
}

impl From<Unreadable> for Unknown {
    fn from(Unreadable { path, source }: Unreadable) -> Self {
        Self::Unreadable {
            path,
            reason: source.to_string(),
        }
    }
}

/// All requirements, the units' first; none where a slot only has to run. Blocks for a moment.
///
/// # Errors
/// [`Unknown`]: the slot is not to be marked good then, nor to be left.
pub fn requirements(settings: &HealthSettings, host: &Host) -> Result<Vec<Requirement>, Unknown> {
    if let Some(word) = settings.no_units.first() {
        return Err(Unknown::NoUnit(word.clone()));
    }
    let units = settings.units.iter().cloned().map(Requirement::Unit);
    let checks = checks::find(host)?.into_iter().map(Requirement::Check);
    Ok(units.chain(checks).collect())
}
