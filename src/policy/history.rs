//! The history of installed updates: which slot is on trial, how far it came, and
//! which payloads are blocked.
//!
//! ```text
//!  commit: Committed ─▶ booted: CameUp ─┬─ marked good ─▶ forgotten, the payload forgiven
//!                │                      ├─ orderly end ─▶ Orderly ─┐
//!                │                      └─ unhealthy ──▶ GivenUp   │
//!                ▼                            ▼      (power cut) ▼ ▼
//!   back in the other slot:    "did not come up"    the cause    forgiven, but not for ever
//! ```
//!
//! A machine is back if another slot runs than the one on trial, and that one's tries were spent
//! without success. Priority 0 tells a slot that was made unbootable from one that was tried.
//! Versions are not compared: the same one may be installed again.

mod blocked;
mod contents;
mod lost_extensions;

use std::collections::BTreeMap;

use payload_format::Sha256Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slots::SlotAttributes;

use lost_extensions::LostExtensions;

use super::{
    BlockedPayloads, HoldOff, KnownImages, Rollback, RollbackCause, SlotPayload, Trial, TrialOutcome,
    TrialProgress,
};
use crate::status::{Tally, UnixTime};
use crate::store::tolerant;

/// Trials of one payload that may end before their time without being blocked, one after the other: a
/// payload that takes the machine down each time must not be installed for ever.
const FORGIVEN: u8 = 2;

/// The number of slots.
const SLOTS: usize = 2;

/// The cause of a rollback that an operator asked for.
const BY_HAND: &str = "rolled back by the operator";

/// Everything remembered. Its JSON form is meant for a record. What an older version did not write
/// yet, or a newer one writes otherwise, has its default; what only a newer one knows is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(deserialize_with = "tolerant::or_default")]
    trial: Option<Trial>,
    /// PARTUUID of the slot that the last update went to, whatever became of it.
    #[serde(deserialize_with = "tolerant::or_default")]
    last_target: Option<String>,
    /// PARTUUIDs of the slots that updates went to.
    #[serde(deserialize_with = "tolerant::known")]
    filled: Vec<String>,
    /// The payload whose last trials were interrupted, and how many.
    #[serde(deserialize_with = "tolerant::or_default")]
    interrupted: Option<(Sha256Digest, u8)>,
    #[serde(rename = "blamed", deserialize_with = "tolerant::or_default")]
    pub(super) blocked: BlockedPayloads,
    #[serde(deserialize_with = "tolerant::or_default")]
    unreported: bool,
    #[serde(deserialize_with = "tolerant::or_default")]
    pub(super) last_rollback: Option<Rollback>,
    /// By PARTUUID, what was seen running in a slot or was committed to it.
    #[serde(deserialize_with = "tolerant::known_by_name")]
    held: BTreeMap<String, SlotPayload>,
    /// PARTUUID of the slot that an operator has put behind the other one.
    #[serde(deserialize_with = "tolerant::or_default")]
    leaving: Option<String>,
    #[serde(deserialize_with = "tolerant::or_default")]
    tally: Tally,
    /// The hold-off, if there is one.
    #[serde(
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) hold_off: Option<HoldOff>,
    /// The kernel's id of the boot in which the slot on trial was first seen running.
    #[serde(
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "Option::is_none"
    )]
    first_boot: Option<String>,
    /// What the payload that was committed last takes from the node, if it takes anything.
    #[serde(
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "Option::is_none"
    )]
    lost_extensions: Option<LostExtensions>,
    /// A record of its own.
    #[serde(skip)]
    images: KnownImages,
    /// Fields of newer versions, kept for them.
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

impl History {
    /// The history with `images`: from here on a payload is blocked in every package of its image.
    #[must_use]
    pub fn with_images(mut self, images: KnownImages) -> Self {
        self.blocked.complete(|payload| images.of(payload));
        Self { images, ..self }
    }

    /// A slot is about to be committed to: it may boot next from here on.
    pub fn committed(&mut self, partuuid: &str, payload: SlotPayload) {
        self.last_target = Some(partuuid.to_owned());
        self.leaving = None;
        self.end_hold_off();
        self.held.insert(partuuid.to_owned(), payload.clone());
        if !self.is_filled(partuuid) {
            self.filled.push(partuuid.to_owned());
            let excess = self.filled.len().saturating_sub(SLOTS);
            self.filled.drain(..excess);
        }
        self.first_boot = None;
        self.trial = Some(Trial {
            partuuid: partuuid.to_owned(),
            payload,
            progress: TrialProgress::Committed,
        });
    }

    /// Takes in the disk's state after a start: the running slot, attributes by PARTUUID.
    pub fn looked(
        &mut self,
        running: &str,
        attributes: impl Fn(&str) -> Option<SlotAttributes>,
        now: UnixTime,
    ) -> TrialOutcome {
        if let Some(left) = self.leaving.take_if(|left| left != running) {
            return TrialOutcome::RolledBack(self.was_left(&left, now));
        }
        let Some(trial) = &mut self.trial else {
            return TrialOutcome::Nothing;
        };
        let Some(slot) = attributes(&trial.partuuid) else {
            return TrialOutcome::Nothing;
        };
        if trial.partuuid == running {
            if slot.is_successful() {
                self.kept(running);
                return TrialOutcome::Kept;
            }
            // One that was given up stays so, although the daemon started again on its way out.
            if !matches!(
                trial.progress,
                TrialProgress::GivenUp(_) | TrialProgress::Unknown(_)
            ) {
                trial.progress = TrialProgress::CameUp;
            }
            return TrialOutcome::OnTrial;
        }
        let was_tried = slot.priority().get() > 0 && slot.tries().get() == 0 && !slot.is_successful();
        match self.trial.take_if(|_| was_tried) {
            Some(trial) => self.came_back(trial, now),
            None => TrialOutcome::Nothing,
        }
    }

    fn was_left(&mut self, partuuid: &str, now: UnixTime) -> Rollback {
        let unknown = SlotPayload {
            sha256: None,
            version: String::new(),
        };
        let rollback = Rollback {
            payload: self.held.get(partuuid).cloned().unwrap_or(unknown),
            cause: BY_HAND.to_owned(),
            output: String::new(),
            noticed: now,
        };
        self.last_rollback = Some(rollback.clone());
        rollback
    }

    fn came_back(
        &mut self,
        Trial {
            payload, progress, ..
        }: Trial,
        now: UnixTime,
    ) -> TrialOutcome {
        let silent = |cause: String| RollbackCause {
            cause,
            output: String::new(),
            is_regression: false,
        };
        let RollbackCause {
            cause,
            output,
            is_regression,
        } = match progress {
            TrialProgress::GivenUp(why) => why,
            TrialProgress::Unknown(value) => RollbackCause::of_unknown(&value),
            TrialProgress::Committed => silent("did not come up".to_owned()),
            TrialProgress::CameUp | TrialProgress::Orderly => {
                let times = self.interrupted_again(&payload);
                if times <= FORGIVEN {
                    return TrialOutcome::Interrupted(payload);
                }
                silent(format!("went down {times} times before it was found healthy"))
            }
        };
        let rollback = Rollback {
            payload,
            cause,
            output,
            noticed: now,
        };
        let retry_from = if is_regression {
            self.retry_from(&rollback.payload, now)
        } else {
            None
        };
        self.block(&rollback, retry_from);
        TrialOutcome::RolledBack(rollback)
    }

    fn interrupted_again(&mut self, payload: &SlotPayload) -> u8 {
        let Some(sha256) = payload.sha256 else { return 1 };
        let times = match self.interrupted {
            Some((other, times)) if self.images.are_same(&other, &sha256) => times.saturating_add(1),
            _ => 1,
        };
        self.interrupted = Some((sha256, times));
        times
    }

    /// The slot `running` is good: what was on trial in it is kept.
    pub fn kept(&mut self, running: &str) {
        if self.leaving.take_if(|left| left == running).is_some()
            && let Some(sha256) = self.held.get(running).and_then(|payload| payload.sha256)
        {
            self.forgive(&sha256);
        }
        let Some(trial) = self.trial.take_if(|trial| trial.partuuid == running) else {
            return;
        };
        self.last_rollback = None;
        if let Some(sha256) = trial.payload.sha256 {
            self.forgive(&sha256);
            let images = &self.images;
            self.interrupted
                .take_if(|(other, _)| images.are_same(other, &sha256));
        }
    }

    /// The slot `running`, of `version`, is about to be left from this cause. It need not be one
    /// that this engine has filled.
    pub fn given_up(&mut self, running: &str, version: &str, why: RollbackCause) {
        let ours = self.trial.take_if(|trial| trial.partuuid == running);
        let payload = ours.map_or_else(
            || SlotPayload {
                sha256: None,
                version: version.to_owned(),
            },
            |trial| trial.payload,
        );
        self.trial = Some(Trial {
            partuuid: running.to_owned(),
            payload,
            progress: TrialProgress::GivenUp(why),
        });
    }

    /// The slot `running` was given up for a cause that `is_withdrawn`, and is not left after all.
    pub fn withdrawn(&mut self, running: &str, is_withdrawn: impl Fn(&RollbackCause) -> bool) {
        if let Some(trial) = &mut self.trial
            && trial.partuuid == running
            && matches!(&trial.progress, TrialProgress::GivenUp(why) if is_withdrawn(why))
        {
            trial.progress = TrialProgress::CameUp;
        }
    }

    /// The machine is shut down in an orderly way while `running` is on trial. A slot that was
    /// given up stays so: that is how it ends.
    pub fn ended_orderly(&mut self, running: &str) {
        if let Some(trial) = &mut self.trial
            && trial.partuuid == running
            && trial.progress == TrialProgress::CameUp
        {
            trial.progress = TrialProgress::Orderly;
        }
    }

    /// An operator puts the slot `running` behind the slot `other`: what it holds is not to be
    /// installed again by itself, and what `other` holds is wanted.
    pub fn leave(&mut self, running: &str, other: &str, now: UnixTime) {
        if let Some(payload) = self.held.get(running).cloned() {
            self.block_payload(&payload, now, BY_HAND, None);
        }
        if let Some(sha256) = self.held.get(other).and_then(|payload| payload.sha256) {
            self.forgive(&sha256);
        }
        self.leaving = Some(running.to_owned());
    }

    /// Whether an operator has put the slot `running` behind the other one.
    #[must_use]
    pub fn is_leaving(&self, running: &str) -> bool {
        self.leaving.as_deref() == Some(running)
    }

    /// The payload of the slot that boots next for the first time.
    #[must_use]
    pub fn waiting(&self) -> Option<&SlotPayload> {
        let trial = self.trial.as_ref()?;
        (trial.progress == TrialProgress::Committed).then_some(&trial.payload)
    }

    /// The last rollback, until an update was kept since.
    #[must_use]
    pub const fn last_rollback(&self) -> Option<&Rollback> {
        self.last_rollback.as_ref()
    }

    /// The slot on trial, if any.
    #[must_use]
    pub const fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// The images of the payloads that were installed.
    #[must_use]
    pub const fn images(&self) -> &KnownImages {
        &self.images
    }

    /// The blocked payloads.
    #[must_use]
    pub const fn blocked_payloads(&self) -> &BlockedPayloads {
        &self.blocked
    }

    /// The counters.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The counters, to be changed.
    pub const fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Whether the last rollback is still to be reported to a server.
    #[must_use]
    pub const fn is_unreported(&self) -> bool {
        self.unreported
    }

    /// Notes that the rollback was reported.
    pub const fn reported(&mut self) {
        self.unreported = false;
    }
}

#[cfg(test)]
mod tests;
