//! The published snapshot, made of the engine's state and of facts about the node beside it: pure.

use std::borrow::Cow;

use super::state::NextBoot;
use super::{Failure, Phase, RunningSlotState, State};
use crate::net::redact;
use crate::printable::printable;
use crate::status::{
    AttemptReport, Diagnostics, EngineState, FailureReport, HealthReport, NextCheck, NoUpdate, Obstacle,
    Overview, RollbackReport, SlotReport, Snapshot, Tally, Transfer,
};

/// One look at the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The version that runs; may be empty.
    pub running_version: String,
    /// The slots as the table has them now; none if it can't be read.
    pub slots: Vec<SlotReport>,
    /// The error because of which `slots` is empty, in a sentence.
    pub slots_unknown: Option<String>,
    /// Which slot the next boot takes.
    pub boots_next: BootsNext,
    /// Whether configuration switches updates off.
    pub updates: Updates,
    /// What is odd about the configuration, each in a sentence.
    pub config_warnings: Vec<String>,
    /// What could keep the node from booting, each in a sentence.
    pub boot_warnings: Vec<String>,
    /// The extensions that are lost with the update that waits, each in a sentence.
    pub lost_extensions: Vec<String>,
    /// What is worse in the running slot than before its update, each in a sentence.
    pub health_warnings: Vec<String>,
    /// What the gate without configuration requires and found.
    pub health: HealthReport,
    /// Why nobody knows what is required of the running slot, if so.
    pub held: Option<String>,
    /// Seconds within which a slot on trial must be found healthy; 0 if no deadline ends its trial.
    pub health_deadline: u64,
    /// The version that waits in the other slot, if one does.
    pub waiting_version: Option<String>,
    /// The last rollback that is remembered, ...
    pub rollback: Option<RollbackReport>,
    /// ... and what the unit or check behind it said.
    pub rollback_output: String,
    /// The last attempts at updates, oldest first.
    pub attempts: Vec<AttemptReport>,
    /// What this machine has done so far.
    pub tally: Tally,
}

/// What the partition table says of the next boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BootsNext {
    /// It can't be read, or neither slot is what the loader takes.
    #[default]
    Unknown,
    /// The slot that runs.
    Running,
    /// The other one.
    Other,
}

/// Whether updates are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Updates {
    /// The server is asked, by itself and when somebody wants it.
    #[default]
    Enabled,
    /// The configuration has `SERVER=disabled`: nothing is asked.
    Disabled,
    /// Configuration that can't be read, with the reason: nothing is asked.
    Unknown(String),
}

/// Characters of a text that are published. Others may have made it as long as they like, and a bus
/// cuts off whoever sends a message that is too long.
const LONGEST: usize = 4096;

/// Everything an account is made of.
pub(super) struct SnapshotSources<'a> {
    pub(super) state: &'a State,
    pub(super) facts: &'a NodeFacts,
    pub(super) transfer: Option<Transfer>,
    pub(super) next_check: Option<NextCheck>,
}

impl SnapshotSources<'_> {
    pub(super) fn snapshot(self) -> Snapshot {
        let diagnostics = Diagnostics {
            rollback_output: printable(&self.facts.rollback_output).into_owned(),
        };
        let tally = self.facts.tally.clone();
        let mut attempts = self.facts.attempts.clone();
        for reason in attempts.iter_mut().filter_map(|attempt| attempt.reason.as_mut()) {
            make_printable(reason);
        }
        Snapshot {
            attempts,
            health: readable_health(self.facts.health.clone()),
            overview: readable(self.overview()),
            diagnostics,
            tally,
        }
    }

    fn overview(self) -> Overview {
        let Self { state, facts, .. } = self;
        let waiting_version = self.waiting_version();
        // Also after a reset, which leaves the slot of an update that waited as it is.
        let boots_update = self.has_installed_update() || facts.boots_next == BootsNext::Other;
        let no_update = self.no_update();
        Overview {
            state: engine_state(state),
            summary: summary(state, &waiting_version, no_update.as_ref())
                + unannounced(state, facts.boots_next),
            running_version: facts.running_version.clone(),
            waiting_version,
            progress: self.transfer.into(),
            slots: facts.slots.clone(),
            trial: trial(&state.running, facts),
            last_check: state.last_check.clone().into(),
            next_check: self.next_check.into(),
            no_update: no_update.into(),
            last_failure: state.last_failure.as_ref().map(FailureReport::from).into(),
            rollback: facts.rollback.clone().into(),
            boot_warnings: Some(facts.boot_warnings.clone()),
            extension_warnings: Some(if boots_update {
                facts.lost_extensions.clone()
            } else {
                Vec::new()
            }),
            config_warnings: Some(
                facts
                    .config_warnings
                    .iter()
                    .map(|warning| shown(warning))
                    .collect(),
            ),
            health_warnings: Some(facts.health_warnings.clone()),
            trial_deadline: Some(facts.health_deadline),
            installed_updates: Some(facts.tally.installed),
        }
    }

    fn waiting_version(&self) -> String {
        let offered = self.state.offer.as_ref().map(|offer| &offer.version);
        let waiting = self.facts.waiting_version.as_ref();
        waiting
            .filter(|_| self.has_installed_update())
            .or(offered)
            .cloned()
            .unwrap_or_default()
    }

    /// Whether an update waits for the reboot, or is staged.
    fn has_installed_update(&self) -> bool {
        match self.state.phase {
            Phase::NeedReboot => self.state.next_boot == NextBoot::Update,
            Phase::Confirming | Phase::Staged(_) | Phase::Unconfirmed(_) | Phase::Activating(_) => true,
            _ => false,
        }
    }

    fn no_update(&self) -> Option<NoUpdate> {
        match &self.facts.updates {
            Updates::Enabled => self.state.no_update.clone(),
            Updates::Unknown(reason) => Some(NoUpdate {
                kind: Obstacle::Failed,
                reason: reason.clone(),
                until: None,
            }),
            Updates::Disabled => Some(NoUpdate {
                kind: Obstacle::Disabled,
                reason: "updates are switched off: SERVER=disabled".to_owned(),
                until: None,
            }),
        }
    }
}

/// A slot that can't be told is not marked good either, whatever was found before; nor is one on
/// trial of which nobody knows what is required. One that was good before this boot is on no trial,
/// also while it has yet to be put first.
fn trial(running: &RunningSlotState, facts: &NodeFacts) -> String {
    let is_good = facts.slots.iter().any(|slot| slot.running && slot.successful);
    match (running, &facts.slots_unknown, &facts.held) {
        (RunningSlotState::Unknown | RunningSlotState::Marking, None, _) if is_good => String::new(),
        (_, Some(reason), _)
        | (
            RunningSlotState::OnTrial(_) | RunningSlotState::Unknown | RunningSlotState::Marking,
            None,
            Some(reason),
        )
        | (RunningSlotState::OnTrial(reason), None, None) => reason.clone(),
        (RunningSlotState::Unknown | RunningSlotState::Marking, None, None) => {
            "its health is being looked at".to_owned()
        }
        (RunningSlotState::Good, None, _) => String::new(),
    }
}

fn engine_state(state: &State) -> EngineState {
    match (state.phase.engine_state(), state.next_boot) {
        (EngineState::RebootNeeded, NextBoot::Rollback) => EngineState::RollbackNeeded,
        (other, _) => other,
    }
}

/// Where nothing waits and the other slot boots next all the same: after a reset, or by somebody's
/// hand.
const fn unannounced(state: &State, boots_next: BootsNext) -> &'static str {
    match (&state.phase, boots_next) {
        (Phase::Idle, BootsNext::Other) => "; the other slot boots next",
        _ => "",
    }
}

fn summary(state: &State, waiting: &str, no_update: Option<&NoUpdate>) -> String {
    if let Phase::Unconfirmed(why) = &state.phase {
        return format!("{waiting} is staged, and can't be activated: {why}");
    }
    if let (Phase::Staged(_), Some(obstacle)) = (&state.phase, &state.staged_obstacle) {
        return format!("{waiting} is staged: {obstacle}");
    }
    match (engine_state(state), no_update) {
        (EngineState::Staged, _) => {
            format!("{waiting} is staged: update_engine_client activate makes it the next to boot")
        }
        (EngineState::StagedForReboot, _) => format!("{waiting} is staged: an orderly reboot activates it"),
        (EngineState::Activating, _) => format!("making {waiting}, which is staged, the next to boot"),
        (EngineState::Idle, None) => "nothing is under way".to_owned(),
        (EngineState::Idle, Some(no_update)) => format!("no update: {}", no_update.reason),
        (EngineState::Checking, _) => "asking the server for an update".to_owned(),
        (EngineState::Preparing, _) => format!("preparing the update to {waiting}"),
        (EngineState::Downloading, _) => format!("downloading {waiting} into the other slot"),
        (EngineState::Finishing, _) => format!("verifying {waiting} and making it the next to boot"),
        (EngineState::RebootNeeded, _) if waiting.is_empty() => {
            "an update is installed: reboot to use it".to_owned()
        }
        (EngineState::RebootNeeded, _) => format!("{waiting} is installed: reboot to use it"),
        (EngineState::RollbackNeeded, _) => {
            let version = if waiting.is_empty() {
                "of unknown version"
            } else {
                waiting
            };
            format!("the other slot ({version}) boots next: reboot to roll back")
        }
        (EngineState::RollingBack, _) => "making the other slot the next to boot".to_owned(),
        (EngineState::Withdrawing, _) => "taking the waiting update back".to_owned(),
        (EngineState::Reporting, _) => "telling the server what went wrong".to_owned(),
    }
}

/// What people read may quote others. Versions stay what they are: programs compare them.
fn readable(mut overview: Overview) -> Overview {
    let texts = [&mut overview.summary, &mut overview.trial];
    let texts = texts
        .into_iter()
        .chain(overview.last_check.0.as_mut().map(|check| &mut check.outcome))
        .chain(overview.next_check.0.as_mut().map(|check| &mut check.why))
        .chain(
            overview
                .no_update
                .0
                .as_mut()
                .map(|no_update| &mut no_update.reason),
        )
        .chain(overview.rollback.0.as_mut().map(|rollback| &mut rollback.cause))
        .chain(overview.boot_warnings.iter_mut().flatten())
        .chain(overview.health_warnings.iter_mut().flatten())
        .chain(overview.extension_warnings.iter_mut().flatten());
    texts.for_each(make_printable);
    overview
}

/// Names of units and extensions are whatever files are called.
fn readable_health(mut health: HealthReport) -> HealthReport {
    for finding in &mut health.findings {
        for text in [
            &mut finding.name,
            &mut finding.before,
            &mut finding.now,
            &mut finding.sentence,
        ] {
            make_printable(text);
        }
    }
    health.reason.iter_mut().for_each(make_printable);
    health
}

fn make_printable(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    if let Cow::Owned(changed) = printable(text) {
        *text = changed;
    }
}

/// What people may read of a text that quotes others: no secret, nothing that a terminal obeys, and
/// no megabytes.
pub(super) fn shown(text: &str) -> String {
    let mut text = redact(text);
    make_printable(&mut text);
    text
}

impl From<&Failure> for FailureReport {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.code.number(),
            sentence: shown(&failure.sentence),
            causes: failure.causes.iter().map(|cause| shown(cause)).collect(),
        }
    }
}

impl From<&Failure> for NoUpdate {
    fn from(failure: &Failure) -> Self {
        Self {
            kind: failure.obstacle,
            reason: shown(&failure.reason()),
            until: failure.until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, shown};

    #[test]
    fn of_a_text_of_megabytes_the_beginning_is_told() {
        let told = shown(&"\u{1}é".repeat(1 << 20));
        assert_eq!(told.replace("\\u{1}", "x"), "xé".repeat(LONGEST / 2) + "…");
        let whole = "é".repeat(LONGEST);
        assert_eq!(shown(&whole), whole);
    }
}
