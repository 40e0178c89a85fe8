//! One look at everything that is required.

use futures_util::future::{join_all, try_join_all};

use super::checks::{self, Check};
use super::gate::{Finding, Incarnation};
use super::units::Units;
use super::{Cause, UnitState};
use crate::config::HealthSettings;
use crate::host::Host;

/// Whether anything at all is required. Blocks for a moment.
#[must_use]
pub fn is_gated(settings: &HealthSettings, host: &Host) -> bool {
    // Directories that can't be read may hold a check.
    !settings.units.is_empty() || checks::find(host).map_or(true, |checks| !checks.is_empty())
}

/// Looks at the units and runs the checks; the first that does not hold, in order of units and then of the
/// checks' names, is the cause.
pub async fn look(units: &impl Units, settings: &HealthSettings, host: &Host) -> Finding {
    let (active, checked) = tokio::join!(
        try_join_all(settings.units.iter().map(|name| active_since(units, name))),
        run_checks(host),
    );
    match (active, checked) {
        (Ok(incarnation), Ok(())) => Finding::Healthy(Incarnation(incarnation)),
        (Err(cause), _) | (Ok(_), Err(cause)) => Finding::Unhealthy(cause),
    }
}

async fn active_since(units: &impl Units, name: &str) -> Result<(String, u64), Cause> {
    let state = units.state(name).await.map_err(|error| Cause::Systemd {
        reason: match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    })?;
    match state {
        state if state.is_active() => Ok((name.to_owned(), state.active_since)),
        UnitState { state, .. } => Err(Cause::Unit {
            name: name.to_owned(),
            state,
            journal: units.last_words(name).await,
        }),
    }
}

async fn run_checks(host: &Host) -> Result<(), Cause> {
    let checks = checks::find(host)?;
    // All run to their ends: a look lasts as long as the slowest, whatever the others say.
    join_all(checks.iter().map(Check::run))
        .await
        .into_iter()
        .collect()
}
