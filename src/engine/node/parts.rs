//! The parts of the node that block, and which of them share which.

use std::sync::Arc;

use super::attempt_history::AttemptHistory;
use super::attempt_observer::AttemptObserver;
use super::baseline_keeper::BaselineKeeper;
use super::check_records::CheckRecords;
use super::check_schedule::CheckSchedule;
use super::clock::NotedTimes;
use super::gate_records::GateRecords;
use super::hold_off::CheckHoldOff;
use super::machine::{Machine, Settings};
use super::node_reporter::NodeReporter;
use super::offer_policy::OfferPolicy;
use super::payload_prefs::PayloadPrefs;
use super::pending_reboot::PendingReboot;
use super::preview::PreviewRecords;
use super::regression_gate::RegressionGate;
use super::slot_control::SlotControl;
use super::slot_trial::SlotTrial;
use super::staged_slot::StagedSlot;
use super::update_history::UpdateHistory;
use super::update_runner::Workplace;
use crate::journal::AttemptFields;

/// One of each part; those that are made of others are made from here.
pub(super) struct Parts {
    pub(super) machine: Arc<Machine>,
    pub(super) history: Arc<UpdateHistory>,
    pub(super) slots: Arc<SlotControl>,
    pub(super) trial: Arc<SlotTrial>,
    pub(super) staged: Arc<StagedSlot>,
    /// The only one that doesn't block.
    pub(super) schedule: Arc<CheckSchedule>,
    attempts: Arc<AttemptHistory>,
    payload_prefs: Arc<PayloadPrefs>,
    hold_off: Arc<CheckHoldOff>,
    offers: Arc<OfferPolicy>,
    gate_records: Arc<GateRecords>,
}

impl Parts {
    pub(super) fn new(settings: Settings) -> Self {
        let machine = Arc::new(Machine::new(settings));
        let history = Arc::new(UpdateHistory::new(&machine));
        let attempts = Arc::new(AttemptHistory::new(&machine, &history));
        let payload_prefs = Arc::new(PayloadPrefs::new(&machine));
        let staged = Arc::new(StagedSlot::new(&machine));
        let slots = Arc::new(SlotControl::new(&machine, &history, &attempts, &staged));
        let gate_records = Arc::new(GateRecords {
            machine: Arc::clone(&machine),
        });
        let gate = RegressionGate::new(&machine, &history, &attempts, &slots, &gate_records);
        Self {
            trial: Arc::new(SlotTrial::new(&machine, &slots, &Arc::new(gate))),
            hold_off: Arc::new(CheckHoldOff::new(&machine, &history, &payload_prefs)),
            offers: Arc::new(OfferPolicy::new(&machine, &history, &payload_prefs)),
            schedule: Arc::default(),
            machine,
            history,
            slots,
            staged,
            attempts,
            payload_prefs,
            gate_records,
        }
    }

    pub(super) fn baseline_keeper(&self) -> BaselineKeeper {
        BaselineKeeper {
            machine: Arc::clone(&self.machine),
            history: Arc::clone(&self.history),
            records: Arc::clone(&self.gate_records),
        }
    }

    pub(super) fn observer(&self, fields: AttemptFields) -> AttemptObserver {
        AttemptObserver {
            attempts: Arc::clone(&self.attempts),
            history: Arc::clone(&self.history),
            payload_prefs: Arc::clone(&self.payload_prefs),
            hold_off: Arc::clone(&self.hold_off),
            schedule: Arc::clone(&self.schedule),
            fields,
        }
    }

    pub(super) fn check_records(&self) -> CheckRecords {
        CheckRecords {
            machine: Arc::clone(&self.machine),
            history: Arc::clone(&self.history),
            hold_off: Arc::clone(&self.hold_off),
            trial: Arc::clone(&self.trial),
            offers: Arc::clone(&self.offers),
            schedule: Arc::clone(&self.schedule),
            staged: Arc::clone(&self.staged),
        }
    }

    pub(super) fn preview_records(&self) -> PreviewRecords {
        PreviewRecords {
            machine: Arc::clone(&self.machine),
            trial: Arc::clone(&self.trial),
            offers: Arc::clone(&self.offers),
        }
    }

    pub(super) fn workplace(&self) -> Workplace {
        Workplace {
            machine: Arc::clone(&self.machine),
            slots: Arc::clone(&self.slots),
            staged: Arc::clone(&self.staged),
        }
    }

    pub(super) fn pending_reboot(&self) -> PendingReboot {
        PendingReboot {
            machine: Arc::clone(&self.machine),
            history: Arc::clone(&self.history),
            attempts: Arc::clone(&self.attempts),
            slots: Arc::clone(&self.slots),
            staged: Arc::clone(&self.staged),
            payload_prefs: Arc::clone(&self.payload_prefs),
        }
    }

    pub(super) fn reporter(&self) -> NodeReporter {
        NodeReporter {
            machine: Arc::clone(&self.machine),
            history: Arc::clone(&self.history),
            attempts: Arc::clone(&self.attempts),
            slots: Arc::clone(&self.slots),
            trial: Arc::clone(&self.trial),
            gate_records: Arc::clone(&self.gate_records),
        }
    }

    pub(super) fn noted_times(&self) -> NotedTimes {
        NotedTimes {
            machine: Arc::clone(&self.machine),
            history: Arc::clone(&self.history),
            attempts: Arc::clone(&self.attempts),
        }
    }
}
