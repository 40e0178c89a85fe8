//! One observation of all requirements.

use futures_util::future::join_all;

use super::Cause;
use super::decision::{Finding, Incarnation};
use super::requirements::Requirement;
use super::units::Units;
use crate::config::UnitName;
use crate::systemd::UnitState;

/// Looks at the units and runs the checks of `required`; the first that does not hold, in the
/// list's order, is the cause. All are looked at to their ends: a look lasts as long as the
/// slowest, whatever the others say.
pub async fn look(units: &impl Units, required: &[Requirement]) -> Finding {
    let found = join_all(required.iter().map(|requirement| meet(units, requirement))).await;
    match found.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(active) => Finding::Healthy(Incarnation(active.into_iter().flatten().collect())),
        Err(cause) => Finding::Unhealthy(cause),
    }
}

/// The unit's name and the time since which it is active; none for a check.
async fn meet(units: &impl Units, requirement: &Requirement) -> Result<Option<(String, u64)>, Cause> {
    match requirement {
        Requirement::Unit(name) => active_since(units, name).await.map(Some),
        Requirement::Check(check) => check.run().await.map(|()| None),
    }
}

async fn active_since(units: &impl Units, name: &UnitName) -> Result<(String, u64), Cause> {
    let name = name.as_str();
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
