//! The gate that needs no configuration: one look at a new slot, at the moment at which it would be
//! marked good.
//!
//! ```text
//!  to be marked good ─▶ ours, first boot, a record of the other slot's image? ── no ─▶ marked good; says why
//!                          │ yes
//!                          ▼                            ┌─ as before, or perhaps worse ─▶ marked good, reported
//!               inventory, within seconds ─▶ compare ───┤     (what is certain, by a second look)
//!                          │ no answer: marked good     └─ lost for certain ─┬─ the other slot boots ─▶ left
//!                          ▼                                                 └─ it doesn't ─▶ marked good, reported
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::attempt_history::AttemptHistory;
use super::gate_records::GateRecords;
use super::machine::{Machine, unix_time};
use super::slot_control::{SlotControl, partuuid};
use super::update_history::UpdateHistory;
use crate::config::{RegressionMode, UnitName};
use crate::disk::DiskError;
use crate::health::baseline::{
    Baseline, Binding, GateOutcome, GateRecord, Regressions, SystemState, compare,
};
use crate::health::{Cause, InventoryError, WantedUnits, take_inventory};
use crate::host::Host;
use crate::journal::{MessageId, chain};
use crate::store::record::RecordError;

/// How long systemd may take for all answers of a look together. After that nothing is required.
const PATIENCE: Duration = Duration::from_secs(5);
/// From a look that found something lost to the one that confirms it.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// The gate's state in this process.
#[derive(Debug, Default)]
enum GateState {
    /// Nobody has looked.
    #[default]
    Unseen,
    /// The slot is to be left.
    Lost {
        cause: Cause,
        /// Whether the engine was told.
        is_told: bool,
    },
    /// Nothing stands against the slot, or nobody can tell.
    Passed,
}

/// The gate of the running slot.
pub(super) struct RegressionGate {
    pub(super) machine: Arc<Machine>,
    pub(super) history: Arc<UpdateHistory>,
    pub(super) attempts: Arc<AttemptHistory>,
    pub(super) slots: Arc<SlotControl>,
    pub(super) records: Arc<GateRecords>,
    state: Mutex<GateState>,
}

/// A look that is due, and what it is to be held against.
#[derive(Debug)]
pub(super) struct DueLook {
    baseline: Baseline,
    mode: RegressionMode,
    excused: Vec<UnitName>,
    /// PARTUUID of the running slot, and its version.
    slot: String,
    version: String,
}

impl DueLook {
    /// What is worse now. What is lost for certain is looked at once more: somebody may just merge
    /// extensions anew.
    ///
    /// # Errors
    /// [`NotComparable`].
    pub(super) async fn look(&self, host: &Host) -> Result<Regressions, NotComparable> {
        let found = self.compare(host).await?;
        if found.certain.is_empty() {
            return Ok(found);
        }
        tokio::time::sleep(SECOND_LOOK).await;
        Ok(found.confirmed_by(self.compare(host).await?))
    }

    async fn compare(&self, host: &Host) -> Result<Regressions, NotComparable> {
        let units = WantedUnits::Of(&self.baseline);
        let now = take_inventory(host, units, PATIENCE).await?;
        if now.system == SystemState::Stopping {
            return Err(NotComparable::Stopping);
        }
        Ok(compare(&self.baseline, &now, &self.excused))
    }
}

/// Why no look is due.
enum NoLook {
    /// It is none of the gate's business.
    NotOurs(&'static str),
    /// It would be, and can't be; of this slot and version.
    Impossible(String, String, Box<NotComparable>),
}

/// Why what is there can't be held against what was well before the update.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotComparable {
    /// What was well can't be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is no such record.
    #[error("nothing was recorded before the update")]
    NothingRecorded,
    /// It is of this version, and not of the slot that the update has replaced.
    #[error("what was recorded is of version {0:?}, which isn't in the other slot")]
    OtherVersion(String),
    /// Which slot that is can't be told.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What is there now can't be told.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// What stops now doesn't show whether it was well.
    #[error("the system is going down")]
    Stopping,
}

impl RegressionGate {
    pub(super) fn new(
        machine: &Arc<Machine>,
        history: &Arc<UpdateHistory>,
        attempts: &Arc<AttemptHistory>,
        slots: &Arc<SlotControl>,
        records: &Arc<GateRecords>,
    ) -> Self {
        Self {
            machine: Arc::clone(machine),
            history: Arc::clone(history),
            attempts: Arc::clone(attempts),
            slots: Arc::clone(slots),
            records: Arc::clone(records),
            state: Mutex::default(),
        }
    }

    /// The look that is due now that nothing else keeps the running slot from being marked good; the
    /// first time only. Where none is, that is told once.
    pub(super) fn due(&self) -> Option<DueLook> {
        if !self.state(|state| matches!(state, GateState::Unseen)) {
            return None;
        }
        let reason = match self.prepare() {
            Ok(due) => return Some(due),
            Err(NoLook::NotOurs(reason)) => reason.to_owned(),
            Err(NoLook::Impossible(slot, version, reason)) => {
                let reason = chain(&reason);
                self.keep_not_compared(slot, version, reason.clone());
                reason
            }
        };
        tracing::info!("what the version before had is not required: {reason}");
        self.pass();
        None
    }

    fn prepare(&self) -> Result<DueLook, NoLook> {
        let host = self.machine.host();
        let settings = self.machine.health_settings();
        let settings = settings.map_err(|_| NoLook::NotOurs("the configuration can't be read"))?;
        if settings.regressions == RegressionMode::Off {
            return Err(NoLook::NotOurs("HEALTH_REGRESSIONS=off"));
        }
        let (history, boot) = (self.history.read(), host.boot_id().unwrap_or_default());
        let trial = self.history.running().and_then(|slot| {
            let payload = history.first_trial(&slot, &boot)?;
            Some((slot, payload.version.clone()))
        });
        let (slot, version) = trial.ok_or(NoLook::NotOurs(
            "this is not the first boot of an update that this engine has installed",
        ))?;
        let baseline = self
            .bound_baseline()
            .map_err(|reason| NoLook::Impossible(slot.clone(), version.clone(), reason.into()))?;
        Ok(DueLook {
            baseline,
            mode: settings.regressions,
            excused: settings.excused,
            version,
            slot,
        })
    }

    /// What was well in the slot that this one has replaced.
    fn bound_baseline(&self) -> Result<Baseline, NotComparable> {
        if !self.machine.host().seems_run_by_systemd() {
            return Err(InventoryError::NoSystemd.into());
        }
        let baseline = self.records.baseline()?;
        let baseline = baseline.ok_or(NotComparable::NothingRecorded)?;
        self.require_bound(&baseline.bound)?;
        Ok(baseline)
    }

    /// Fails unless a record is of the slot that this one has replaced, and of what that holds.
    fn require_bound(&self, bound: &Binding) -> Result<(), NotComparable> {
        let disk = self.machine.disk()?;
        let other = partuuid(&disk, !disk.running())?;
        let history = self.history.read();
        let image = history
            .payload_in(&other)
            .and_then(|payload| history.images().of(payload));
        let differ = bound.image.zip(image).is_some_and(|(one, other)| !one.is(&other));
        let is_bound = bound.slot == other && history.version_in(&other) == Some(&bound.version);
        if is_bound && !differ {
            return Ok(());
        }
        Err(NotComparable::OtherVersion(bound.version.clone()))
    }

    /// Decides by what was found, and remembers it: the record comes before anything is done.
    pub(super) fn judge(&self, due: DueLook, found: Result<Regressions, NotComparable>) {
        let found = match found {
            Ok(found) => found,
            Err(reason) => {
                let reason = chain(&reason);
                tracing::warn!("what the version before had is not required: {reason}");
                self.keep_not_compared(due.slot, due.version, reason);
                return self.pass();
            }
        };
        let stays = self.stays_because(due.mode, &found);
        let outcome = match (&stays, found.is_empty()) {
            (_, true) => GateOutcome::AsBefore,
            (None, false) => GateOutcome::Left,
            (Some(_), false) => GateOutcome::Kept,
        };
        let record = GateRecord {
            compared: unix_time(),
            slot: due.slot,
            version: due.version,
            outcome,
            reason: stays.clone().unwrap_or_default(),
            certain: found.certain,
            perhaps: found.perhaps,
        };
        self.keep(&record);
        self.tell(&record, &due.baseline);
        let cause = Cause::Lost {
            what: record.certain.iter().map(ToString::to_string).collect(),
        };
        self.state(|state| {
            *state = match outcome {
                GateOutcome::Left => GateState::Lost {
                    cause,
                    is_told: false,
                },
                _ => GateState::Passed,
            };
        });
    }

    /// Why the slot is kept; nothing if it is to be left. Empty where nothing speaks against it.
    fn stays_because(&self, mode: RegressionMode, found: &Regressions) -> Option<String> {
        if found.certain.is_empty() {
            return Some(String::new());
        }
        if mode == RegressionMode::RollBack {
            self.slots.no_way_back()
        } else {
            Some("HEALTH_REGRESSIONS=report".to_owned())
        }
    }

    /// The slot that was to be left stays after all: the record, status and history say so.
    pub(super) fn stay(&self, reason: &str) {
        if let Ok(Some(mut record)) = self.records.comparison()
            && record.outcome == GateOutcome::Left
        {
            record.outcome = GateOutcome::Kept;
            reason.clone_into(&mut record.reason);
            self.keep(&record);
            self.attempts.remark(&record.slot, &record.sentences().join("; "));
        }
        self.pass();
    }

    fn tell(&self, record: &GateRecord, baseline: &Baseline) {
        for lost in &record.certain {
            tracing::error!(
                MESSAGE_ID = MessageId::Lost.id(),
                UPDATE_VERSION = record.version,
                "lost with the update: {lost}"
            );
        }
        for worse in &record.perhaps {
            tracing::warn!(
                MESSAGE_ID = MessageId::WorseThanBefore.id(),
                UPDATE_VERSION = record.version,
                "worse than before the update: {worse}"
            );
        }
        match record.outcome {
            GateOutcome::AsBefore => tracing::info!(
                "all is as it was before the update: {} units, {} extensions",
                baseline.units.len(),
                baseline.extensions.len() + baseline.confexts.len()
            ),
            GateOutcome::Left => tracing::error!("the running slot is to be left"),
            _ if record.reason.is_empty() => tracing::warn!("the running slot is kept"),
            _ => tracing::warn!("the running slot is kept: {}", record.reason),
        }
        if record.outcome == GateOutcome::Kept {
            self.attempts.remark(&record.slot, &record.sentences().join("; "));
        }
    }

    fn keep_not_compared(&self, slot: String, version: String, reason: String) {
        self.keep(&GateRecord {
            compared: unix_time(),
            slot,
            version,
            outcome: GateOutcome::NotCompared,
            reason,
            ..GateRecord::default()
        });
    }

    fn keep(&self, record: &GateRecord) {
        if let Err(error) = self.records.save_comparison(record) {
            tracing::warn!(
                "what was compared after the update is not remembered: {}",
                chain(&error)
            );
        }
    }

    /// The cause for which the slot is to be left, the first time it is asked for.
    pub(super) fn take_cause(&self) -> Option<Cause> {
        self.state(|state| match state {
            GateState::Lost { cause, is_told } if !*is_told => {
                *is_told = true;
                Some(cause.clone())
            }
            _ => None,
        })
    }

    /// Why the slot is to be left.
    pub(super) fn obstacle(&self) -> Option<String> {
        self.state(|state| match state {
            GateState::Lost { cause, .. } => Some(cause.summary()),
            GateState::Unseen | GateState::Passed => None,
        })
    }

    /// Nothing stands against the slot any more.
    fn pass(&self) {
        self.state(|state| *state = GateState::Passed);
    }

    fn state<T>(&self, look: impl FnOnce(&mut GateState) -> T) -> T {
        // Plain values: a panic elsewhere cannot have left them half written.
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
