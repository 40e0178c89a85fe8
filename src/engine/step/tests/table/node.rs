//! The node of the table: as pure as the decisions. It carries out the effects of [`step`], is booted
//! by the loader's rule, and asks the policy for the rest.

use std::collections::VecDeque;

use slots::{Priority, SlotAttributes, Tries, choose, prioritize};

use super::super::*;
use crate::config::Activation;
use crate::engine::{StagedReadiness, Unconfirmed};
use crate::policy::{ActivatedBy, ActivationInput, StagedFate, StagedUpdate};

const SLOTS: [&str; 2] = ["a", "b"];
const KERNEL: u64 = 500;

/// A node with an update in slot B, or about to be there.
#[derive(Clone)]
pub(super) struct Node {
    state: State,
    /// Index of the slot that runs.
    pub(super) running: usize,
    pub(super) slots: [SlotAttributes; 2],
    record: Option<StagedUpdate>,
    /// What was staged when this began.
    remembered: Option<StagedUpdate>,
    is_held: bool,
    activation: Activation,
    kernel: Option<u64>,
    wanted: Vec<String>,
    is_image_as_staged: bool,
    offer: Answer,
    /// Whether anything in `/run` asks for a reboot.
    pub(super) asks_for_reboot: bool,
    pub(super) sabotage: Option<Sabotage>,
}

/// What would be wrong, and must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// Activation goes by what was staged once, not by record and disk.
    FromMemory,
    /// The program that an orderly reboot runs is run, and not told why, by any shutdown.
    AtAnyShutdown,
    /// A reboot is asked for once an update is staged.
    AsksOnceStaged,
}

/// What the server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Nothing,
    Newer,
    /// The same, where what waits may be replaced.
    Replacement,
    /// The update that slot B holds, or held.
    Same,
    /// Something that can't be installed.
    Unusable,
}

pub(super) fn slot(priority: u8, tries: u8, successful: bool) -> SlotAttributes {
    let slot = SlotAttributes::default().on_trial(Tries::new(tries).unwrap());
    let slot = if successful { slot.marked_good() } else { slot };
    slot.with_priority(Priority::new(priority).unwrap())
}

fn staged() -> StagedUpdate {
    serde_json::from_value(serde_json::json!({
        "partuuid": SLOTS[1],
        "image": vec![7; 32],
        "image_bytes": 4096,
        "kernel": "/boot/flatcar/vmlinuz-b",
        "kernel_sha256": vec![8; 32],
        "kernel_bytes": KERNEL,
        "version": "2.0.0",
        "extensions": ["docker"],
    }))
    .unwrap()
}

impl Node {
    pub(super) fn of(column: &str, activation: Activation) -> Self {
        let good = State {
            running: RunningSlotState::Good,
            ..State::idle()
        };
        let on_trial = State {
            running: RunningSlotState::OnTrial("not healthy yet".into()),
            ..State::idle()
        };
        let resting = |phase| State {
            phase,
            ..good.clone()
        };
        let record = Some(staged());
        let (state, running, b, record) = match column {
            "none" => (good, 0, slot(1, 0, true), None),
            "empty" => (good, 0, slot(0, 0, false), None),
            "staged" => (resting(Phase::Staged(activation)), 0, slot(0, 0, false), record),
            "unread" => {
                let phase = Phase::Unconfirmed("it was mounted".into());
                (resting(phase), 0, slot(0, 0, false), record)
            }
            "waiting" => (State::reboot_pending(), 0, slot(3, 1, false), None),
            "on trial" => (on_trial, 1, slot(3, 0, false), None),
            "good" => (good, 1, slot(3, 0, true), None),
            "given up" => (good, 0, slot(3, 0, false), None),
            other => panic!("{other} is no column"),
        };
        Self {
            state,
            running,
            slots: [slot(2, 0, true), b],
            remembered: record.clone(),
            record,
            is_held: column == "staged",
            activation,
            kernel: Some(KERNEL),
            wanted: vec!["docker".into()],
            is_image_as_staged: true,
            offer: Answer::Same,
            asks_for_reboot: column == "waiting",
            sabotage: None,
        }
    }

    pub(super) fn boots_next(&self) -> Option<usize> {
        choose(self.slots.iter().copied().enumerate()).map(|choice| choice.slot)
    }

    pub(super) fn fate(&self) -> Option<StagedFate> {
        let attributes = |partuuid: &str| {
            let index = SLOTS.iter().position(|slot| *slot == partuuid)?;
            Some(self.slots[index])
        };
        let next = self.boots_next().map(|next| SLOTS[next]);
        let record = self.record.as_ref()?;
        Some(record.fate(SLOTS[self.running], attributes, next))
    }

    /// The column that it is in.
    pub(super) fn column(&self) -> &'static str {
        let [_, b] = self.slots;
        if self.running == 1 {
            return if b.is_successful() { "good" } else { "on trial" };
        }
        match (self.fate(), self.is_held) {
            (Some(StagedFate::Staged), true) => return "staged",
            (Some(StagedFate::Staged), false) => return "unread",
            _ => {}
        }
        match b.priority().get() {
            0 => "empty",
            _ if !b.is_successful() && b.tries().get() == 0 => "given up",
            _ if !b.is_successful() && self.boots_next() == Some(1) => "waiting",
            _ => "none",
        }
    }

    pub(super) fn decide(&self, by: ActivatedBy) -> Result<(), String> {
        if self.sabotage == Some(Sabotage::FromMemory) {
            let is_meant = by == ActivatedBy::Order || self.activation == Activation::Reboot;
            return if self.remembered.is_some() && is_meant {
                Ok(())
            } else {
                Err("not here".into())
            };
        }
        let Some(staged) = &self.record else {
            return Err("no update is staged".into());
        };
        let input = ActivationInput {
            staged,
            by,
            activation: self.activation,
            fate: self.fate().unwrap(),
            is_held: self.is_held,
            kernel_bytes: self.kernel,
            is_kernel_as_read: self.kernel.is_some(),
            extensions: &self.wanted,
        };
        assert!(self.slots[self.running].is_good());
        input.decide().map_err(|obstacle| obstacle.to_string())
    }

    pub(super) fn activate(&mut self, by: ActivatedBy) -> Result<(), SlotError> {
        self.decide(by).map_err(SlotError::Unfit)?;
        let other = 1 - self.running;
        self.slots[other] = self.slots[other].on_trial(Tries::ONE);
        prioritize(&mut self.slots, other);
        Ok(())
    }

    /// The daemon starts: as `PendingReboot` concludes.
    fn start(&mut self, is_marked: bool) {
        self.is_held = false;
        let is_good = self.slots[self.running].is_good();
        self.state = match self.fate() {
            // To be read back; a test of its own says that it is.
            Some(StagedFate::Staged) => State {
                phase: Phase::Unconfirmed("not read yet".into()),
                ..State::staged("2.0.0".into())
            },
            _ if is_marked => State::reboot_pending(),
            _ => State::idle(),
        };
        if matches!(self.fate(), Some(StagedFate::Tried | StagedFate::Void)) {
            self.record = None;
        }
        if self.state.phase != Phase::NeedReboot && is_good {
            self.happens(Event::MarkGoodDue);
        }
    }

    /// The loader's turn.
    fn boot(&mut self) {
        let choice = choose(self.slots.iter().copied().enumerate()).unwrap();
        self.running = choice.slot;
        self.slots[choice.slot] = choice.spent;
        self.asks_for_reboot = false;
        self.start(false);
    }

    /// The event, and all that follows from it.
    fn happens(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let Ok((state, effects)) = step(&self.state, event) else {
                continue;
            };
            self.state = state;
            for effect in effects {
                events.extend(self.carry_out(&effect));
            }
        }
    }

    fn carry_out(&mut self, effect: &Effect) -> Option<Event> {
        let offer = || OfferSummary {
            version: "3.0.0".into(),
            size: 1,
        };
        Some(match effect {
            Effect::Check(_) => match self.offer {
                Answer::Nothing => Event::Checked(CheckOutcome::NoUpdate, 1),
                // What was given up is blamed.
                Answer::Same if self.column() == "given up" => {
                    Event::Checked(CheckOutcome::Failed(failure(ErrorCode::IgnoredPerPolicy)), 1)
                }
                _ => Event::Checked(CheckOutcome::Offer(offer()), 1),
            },
            Effect::Revisit(_) if self.offer == Answer::Replacement => {
                Event::Revisited(CheckOutcome::Offer(offer()), 1)
            }
            Effect::Revisit(_) => Event::Pinged,
            Effect::Prepare if self.offer == Answer::Unusable => {
                Event::Prepared(Err(failure(ErrorCode::PublicKeyVerification)))
            }
            Effect::Prepare => {
                self.is_held = false;
                Event::Prepared(Ok(()))
            }
            Effect::Report(_) => Event::Reported,
            Effect::Confirm if self.is_image_as_staged => {
                self.is_held = true;
                self.asks_for_reboot |= self.sabotage == Some(Sabotage::AsksOnceStaged);
                Event::Confirmed(Ok(StagedReadiness {
                    activation: self.activation,
                    obstacle: None,
                }))
            }
            Effect::Confirm => {
                (self.record, self.is_held) = (None, false);
                let failure = failure(ErrorCode::NewRootfsVerification);
                Event::Confirmed(Err(Unconfirmed::Void(failure)))
            }
            Effect::Activate => Event::Activated(self.activate(ActivatedBy::Order)),
            effect => return self.change_slots(effect),
        })
    }

    fn change_slots(&mut self, effect: &Effect) -> Option<Event> {
        let other = 1 - self.running;
        Some(match effect {
            Effect::MarkGood if !self.slots[self.running].is_successful() => {
                Event::Marked(Err(SlotError::OnTrial("not healthy yet".into())))
            }
            Effect::MarkGood | Effect::MarkGoodAnyway => {
                self.slots[self.running] = self.slots[self.running].marked_good();
                prioritize(&mut self.slots, self.running);
                Event::Marked(Ok(()))
            }
            // It goes on for long; nothing else of it matters here.
            Effect::Download => {
                (self.record, self.asks_for_reboot) = (None, false);
                self.slots[other] = self.slots[other].unbootable();
                return None;
            }
            Effect::Unstage => {
                (self.record, self.is_held) = (None, false);
                Event::Withdrawn(Ok(()))
            }
            Effect::RememberPending => {
                (self.record, self.asks_for_reboot) = (None, true);
                return None;
            }
            Effect::ForgetPending => {
                self.asks_for_reboot = false;
                return None;
            }
            Effect::Withdraw => {
                self.asks_for_reboot = false;
                if !self.slots[other].is_successful() && self.slots[other].is_selectable() {
                    self.slots[other] = self.slots[other].unbootable();
                }
                Event::Withdrawn(Ok(()))
            }
            Effect::RollBack => Event::RolledBack(if self.slots[other].is_successful() {
                prioritize(&mut self.slots, other);
                Ok("0.9.0".into())
            } else {
                Err(SlotError::Unfit("it was never good".into()))
            }),
            _ => return None,
        })
    }

    pub(super) fn plays(&mut self, row: &str) {
        let is_marked = self.state.phase == Phase::NeedReboot;
        match row {
            "restart of the daemon" => self.start(is_marked),
            "the slot is read back" => {
                if matches!(self.state.phase, Phase::Unconfirmed(_)) {
                    self.happens(Event::CheckDue);
                }
            }
            "power cut" | "reset" => self.boot(),
            "power-off" => {
                self.goes_down();
                self.boot();
            }
            "orderly reboot, `reboot`" | "orderly reboot, `order`" => self.reboots(),
            "reset of the status, then an orderly reboot" => {
                self.happens(Event::ResetRequested);
                self.reboots();
            }
            "kexec" => {
                self.goes_down();
                self.asks_for_reboot = false;
                self.start(false);
            }
            "activation by order" => self.happens(Event::ActivateRequested),
            "reset of the status" => self.happens(Event::ResetRequested),
            "withdrawal with the slot" => {
                self.happens(Event::WithdrawalRequested(WaitingSlot::Unbootable));
            }
            "newer offer" => self.is_offered(Answer::Newer),
            "newer offer, `REPLACE_WAITING_UPDATE=yes`" => self.is_offered(Answer::Replacement),
            "same offer" => self.is_offered(Answer::Same),
            "blamed" | "key gone" => self.is_offered(Answer::Unusable),
            "offer gone" => self.is_offered(Answer::Nothing),
            "rollback by hand" => self.happens(Event::RollbackRequested),
            "mark-good" => self.happens(Event::MarkGoodRequested),
            row => self.plays_on_disk(row),
        }
    }

    /// What somebody does to disk or configuration.
    fn plays_on_disk(&mut self, row: &str) {
        match row {
            "extension added, then an order" => {
                self.wanted.push("podman".into());
                self.happens(Event::ActivateRequested);
            }
            "kernel removed, then an order" => {
                self.kernel = None;
                self.happens(Event::ActivateRequested);
            }
            "put first by hand" => {
                let other = 1 - self.running;
                let attributes = self.slots[other];
                if !attributes.is_successful() && attributes.priority().get() == 0 && self.record.is_some() {
                    self.slots[other] = attributes.on_trial(Tries::ONE);
                    prioritize(&mut self.slots, other);
                }
                if self.slots[other].priority().get() > 0 {
                    prioritize(&mut self.slots, other);
                }
                if self.boots_next() == Some(other) {
                    self.happens(Event::Activated(Ok(())));
                }
            }
            "slot changed from outside" => {
                // Nobody can while it is held.
                self.is_image_as_staged = self.is_held;
                if self.column() == "unread" {
                    self.happens(Event::CheckDue);
                }
            }
            other => panic!("{other} is no row"),
        }
    }

    fn reboots(&mut self) {
        let _ = self.activate(ActivatedBy::Reboot);
        self.boot();
    }

    /// Units are stopped, not for an orderly reboot.
    fn goes_down(&mut self) {
        if self.sabotage == Some(Sabotage::AtAnyShutdown) {
            let _ = self.activate(ActivatedBy::Reboot);
        }
    }

    fn is_offered(&mut self, offer: Answer) {
        self.offer = offer;
        self.happens(Event::CheckDue);
    }
}
