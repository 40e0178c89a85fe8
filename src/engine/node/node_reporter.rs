//! The reporter of the node's facts: slots, rollbacks, attempts, configuration.

use std::sync::Arc;

use super::attempt_history::AttemptHistory;
use super::machine::Machine;
use super::slot_control::SlotControl;
use super::slot_trial::SlotTrial;
use super::update_history::UpdateHistory;
use crate::config::ServerSetting;
use crate::disk::{DiskError, SlotRow};
use crate::engine::{NodeFacts, Updates};
use crate::journal::chain;
use crate::policy::{Attempt, History, Rollback};
use crate::status::{AttemptReport, RollbackReport, SlotReport};

/// Reads the facts about the node that the bus shows. Writes nothing.
pub(super) struct NodeReporter {
    pub(super) machine: Arc<Machine>,
    pub(super) history: Arc<UpdateHistory>,
    pub(super) attempts: Arc<AttemptHistory>,
    pub(super) slots: Arc<SlotControl>,
    pub(super) trial: Arc<SlotTrial>,
}

impl NodeReporter {
    pub(super) fn facts(&self) -> NodeFacts {
        let config = self.machine.config();
        let running_version = self.machine.last_version();
        let history = self.history.read();
        let rollback = history.last_rollback();
        let (slots, boot_warnings, slots_unknown) = match self.slot_facts(&history, &running_version) {
            Ok((slots, warnings)) => (slots, warnings, None),
            Err(error) => {
                let reason = chain(&error);
                tracing::debug!("the slots can't be looked at: {reason}");
                (Vec::new(), Vec::new(), Some(reason))
            }
        };
        NodeFacts {
            boots_next: self.slots.boots_next(),
            slots,
            slots_unknown,
            updates: match &config {
                Ok(config) if config.server == ServerSetting::Disabled => Updates::Disabled,
                Ok(_) => Updates::Enabled,
                Err(error) => Updates::Unknown(chain(error)),
            },
            config_warnings: config
                .map_or_else(|_| Vec::new(), |config| config.warnings())
                .into_iter()
                .chain(self.machine.host().machine_id_warning())
                .collect(),
            boot_warnings,
            held: self.trial.requirements().err().map(|unknown| unknown.to_string()),
            waiting_version: history.waiting().map(|payload| payload.version.clone()),
            rollback: rollback.map(rollback_report),
            rollback_output: rollback
                .map(|rollback| rollback.output.clone())
                .unwrap_or_default(),
            attempts: self.attempts.read().iter().map(attempt_report).collect(),
            running_version,
            tally: history.tally().clone(),
        }
    }

    /// The slots, and what could keep them from booting.
    fn slot_facts(
        &self,
        history: &History,
        running_version: &str,
    ) -> Result<(Vec<SlotReport>, Vec<String>), DiskError> {
        let disk = self.machine.disk()?;
        let (running, rows) = (disk.running(), disk.table()?);
        let warnings = match disk.boot_risks(self.machine.host()) {
            Ok(risks) => risks.iter().map(ToString::to_string).collect(),
            Err(error) => vec![format!(
                "what could keep it from booting is not known: {}",
                chain(&error)
            )],
        };
        let version = |row: &SlotRow| {
            let own = (row.slot == running).then_some(running_version);
            let version = own.or_else(|| history.version_in(&row.partuuid));
            version.filter(|version| !version.is_empty()).map(str::to_owned)
        };
        let reports = rows.iter().map(|row| SlotReport {
            name: row.slot.to_string(),
            partuuid: row.partuuid.clone(),
            version: version(row),
            priority: row.attributes.priority().get().into(),
            tries: row.attributes.tries().get().into(),
            successful: row.attributes.is_successful(),
            running: row.slot == running,
        });
        Ok((reports.collect(), warnings))
    }
}

fn rollback_report(rollback: &Rollback) -> RollbackReport {
    RollbackReport {
        version: rollback.payload.version.clone(),
        payload_sha256: rollback.payload.sha256.map(|sha256| sha256.to_string()),
        noticed: rollback.noticed.0,
        cause: rollback.cause.clone(),
    }
}

fn attempt_report(attempt: &Attempt) -> AttemptReport {
    AttemptReport {
        began: attempt.began.0,
        ended: attempt.ended.map(|ended| ended.0),
        from: attempt.from.clone(),
        to: attempt.to.clone(),
        slot: attempt.slot.clone(),
        payload_sha256: attempt.sha256.to_string(),
        bytes_total: attempt.size,
        bytes_resumed: attempt.resumed_at,
        bytes_fetched: attempt.fetched,
        download_seconds: attempt.download_seconds,
        finish_seconds: attempt.finish_seconds,
        asked_by: attempt.asked_by,
        outcome: attempt.state,
        code: attempt.code,
        reason: (!attempt.why.is_empty()).then(|| attempt.why.clone()),
        times: attempt.times,
    }
}
