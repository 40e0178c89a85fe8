//! The reporter of the node's facts: slots, rollbacks, attempts, configuration.

use std::sync::Arc;

use super::attempt_history::AttemptHistory;
use super::gate_records::GateRecords;
use super::machine::Machine;
use super::slot_control::SlotControl;
use super::slot_trial::SlotTrial;
use super::update_history::UpdateHistory;
use crate::config::{HealthSettings, ServerSetting};
use crate::disk::{DiskError, SlotRow};
use crate::engine::{NodeFacts, Updates};
use crate::health::baseline::{Baseline, GateOutcome, GateRecord, RecordedExtension, Regression};
use crate::journal::chain;
use crate::policy::{Attempt, History, Rollback};
use crate::status::{AttemptReport, HealthFinding, HealthReport, RollbackReport, SlotReport};

/// Reads the facts about the node that the bus shows. Writes nothing.
pub(super) struct NodeReporter {
    pub(super) machine: Arc<Machine>,
    pub(super) history: Arc<UpdateHistory>,
    pub(super) attempts: Arc<AttemptHistory>,
    pub(super) slots: Arc<SlotControl>,
    pub(super) trial: Arc<SlotTrial>,
    pub(super) gate_records: Arc<GateRecords>,
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
        let comparison = self.gate_records.comparison().unwrap_or_else(|error| {
            tracing::warn!(
                "what was compared after the last update is forgotten: {}",
                chain(&error)
            );
            None
        });
        NodeFacts {
            health_warnings: self.health_warnings(comparison.as_ref()),
            health: self.health(comparison),
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
            lost_extensions: history.lost_with_waiting().to_vec(),
            held: self.trial.requirements().err().map(|unknown| unknown.to_string()),
            health_deadline: self.trial.health_deadline(),
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

    /// What was worse in the running slot than before its update.
    fn health_warnings(&self, comparison: Option<&GateRecord>) -> Vec<String> {
        let running = self.history.running();
        let kept = comparison.filter(|comparison| {
            let is_kept = comparison.outcome == GateOutcome::Kept;
            is_kept
                && running.is_some_and(|slot| slot == comparison.slot)
                && self.machine.last_version() == comparison.version
        });
        kept.map(GateRecord::sentences).unwrap_or_default()
    }

    fn health(&self, comparison: Option<GateRecord>) -> HealthReport {
        let settings = self.machine.health_settings().ok();
        let baseline = self.gate_records.baseline().unwrap_or_default();
        health_report(settings.as_ref(), baseline, comparison)
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

fn health_report(
    settings: Option<&HealthSettings>,
    baseline: Option<Baseline>,
    comparison: Option<GateRecord>,
) -> HealthReport {
    let mut report = HealthReport {
        mode: settings.map_or_else(String::new, |settings| settings.regressions.word().to_owned()),
        ..HealthReport::default()
    };
    if let Some(settings) = settings {
        report.excused = settings
            .excused
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect();
    }
    if let Some(baseline) = baseline {
        let names =
            |extensions: Vec<RecordedExtension>| extensions.into_iter().map(|each| each.name).collect();
        report.recorded = Some(baseline.taken.0);
        report.recorded_version = Some(baseline.bound.version);
        report.recorded_up = Some(baseline.up);
        report.required_units = baseline.units.into_iter().map(|unit| unit.name).collect();
        report.required_extensions = names(baseline.extensions);
        report.required_confexts = names(baseline.confexts);
        report.required_route = baseline.default_route;
        report.failed_before = baseline.failed;
    }
    if let Some(comparison) = comparison {
        let certain = comparison
            .certain
            .iter()
            .map(|regression| finding(regression, true));
        let perhaps = comparison
            .perhaps
            .iter()
            .map(|regression| finding(regression, false));
        report.findings = certain.chain(perhaps).collect();
        report.compared = Some(comparison.compared.0);
        report.compared_version = Some(comparison.version);
        report.outcome = Some(comparison.outcome.word().to_owned());
        report.reason = Some(comparison.reason).filter(|reason| !reason.is_empty());
    }
    report
}

fn finding(regression: &Regression, certain: bool) -> HealthFinding {
    HealthFinding {
        subject: regression.subject.word().to_owned(),
        name: regression.name.clone(),
        certain,
        before: regression.before.clone(),
        now: regression.now.clone(),
        sentence: regression.to_string(),
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
    let content = attempt.content.as_ref();
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
        content_package: content.map(|content| content.package.clone()),
        content_expected: content.and_then(|content| content.expected),
        content_fetched: content.map(|content| content.fetched),
        content_failure: content.and_then(|content| content.failure.clone()),
        download_seconds: attempt.download_seconds,
        finish_seconds: attempt.finish_seconds,
        asked_by: attempt.asked_by,
        outcome: attempt.state,
        code: attempt.code,
        reason: (!attempt.why.is_empty()).then(|| attempt.why.clone()),
        times: attempt.times,
    }
}
