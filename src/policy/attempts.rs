//! The history of attempts: what was tried when, for whom, and how it ended. For people; nothing is
//! decided by it.
//!
//! ```text
//!  began ─▶ UnderWay ─┬─ Failed
//!                     ├─ Interrupted             by a restart, or by a cut that a later start noticed
//!                     ├─ Staged ─▶ Waiting, Withdrawn, or OnTrial
//!                     └─ Waiting ─┬─ Withdrawn   its slot is not bootable any more, and never ran
//!                                 └─ OnTrial ─┬─ Kept ──┐
//!                                             └─────────┴─▶ RolledBack
//! ```
//!
//! From `Waiting` on the disk says how an attempt goes on, together with what [`History`] remembers
//! for the sake of decisions: [`Attempts::settle`] draws that conclusion anew whenever it is asked.
//! So nothing depends on when this history is written: a change that a cut has swallowed is made up
//! for by the next one.

use payload_format::Sha256Digest;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use slots::{SlotAttributes, choose};

use super::History;
use crate::plan::ContentUse;
use crate::status::{AttemptState, Trigger, UnixTime};
use crate::store::tolerant;

/// Attempts remembered; the oldest is forgotten first.
const MOST: usize = 32;

/// Characters of any text that is remembered. Servers say what they like, and some of it ends up in
/// here.
const LONGEST: usize = 600;

/// The code of an attempt whose manifest names an image that the node rolled back from.
const REFUSED: u32 = 35;

/// One attempt to install an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When the offer was taken.
    pub began: UnixTime,
    /// When the slot was installed, or it was given up; not known of one that was cut.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub ended: Option<UnixTime>,
    /// The version that ran.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub from: String,
    /// The offered version.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub to: String,
    /// The slot written, for display.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub slot: String,
    /// The slot's PARTUUID.
    pub partuuid: String,
    /// SHA-256 of the payload.
    pub sha256: Sha256Digest,
    /// Size of the payload in bytes.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub size: u64,
    /// Who asked for the attempt.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub asked_by: Trigger,
    /// Bytes of the payload that an earlier attempt had written.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub resumed_at: u64,
    /// Bytes that were fetched in this attempt, those of a content package included.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub fetched: u64,
    /// What came of the offer's content package, if it was tried.
    #[serde(
        default,
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "Option::is_none"
    )]
    pub content: Option<ContentUse>,
    /// Duration of fetching and writing, in seconds.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub download_seconds: u64,
    /// Duration of verification, postinst and commit, in seconds.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub finish_seconds: u64,
    /// Its state when this was written.
    #[serde(rename = "course", default, deserialize_with = "tolerant::or_default")]
    pub state: AttemptState,
    /// The code that the server was told, if it failed.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub code: Option<u32>,
    /// The failure or the rollback's cause in a sentence; may be empty.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub why: String,
    /// Number of consecutive attempts that ended in this way before anything was fetched.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub times: u32,
}

impl Attempt {
    /// Whether the attempt failed as `other` did, and neither has fetched anything of the payload's
    /// data.
    fn repeats(&self, other: &Self) -> bool {
        let what = |attempt: &Self| {
            let is_early = attempt.fetched == 0 || attempt.code == Some(REFUSED);
            let is_early = attempt.state == AttemptState::Failed && is_early;
            is_early.then(|| {
                let Self {
                    sha256,
                    code,
                    asked_by,
                    ..
                } = *attempt;
                (sha256, code, asked_by, attempt.why.clone(), attempt.slot.clone())
            })
        };
        what(self).is_some() && what(self) == what(other)
    }

    fn is_installed(&self) -> bool {
        matches!(
            self.state,
            AttemptState::Staged
                | AttemptState::Waiting
                | AttemptState::Withdrawn
                | AttemptState::OnTrial
                | AttemptState::Kept
                | AttemptState::RolledBack
        )
    }
}

/// The state of the disk and the history that [`Attempts::settle`] concludes from.
#[derive(Clone, Copy)]
pub struct DiskView<'a> {
    /// PARTUUID of the slot that runs.
    pub running: &'a str,
    /// The attributes of the slots by PARTUUID.
    pub slots: &'a [(String, SlotAttributes)],
    /// PARTUUID of the slot that holds a staged update, if one does.
    pub staged: Option<&'a str>,
    /// The history of updates.
    pub history: &'a History,
}

impl DiskView<'_> {
    fn attributes(&self, partuuid: &str) -> Option<SlotAttributes> {
        let mut slots = self.slots.iter();
        slots
            .find(|(slot, _)| slot == partuuid)
            .map(|(_, attributes)| *attributes)
    }

    /// Whether an attempt that was cut had reached its commit. The slot's contents are remembered
    /// right before it.
    fn is_committed(&self, attempt: &Attempt) -> bool {
        let untried = |slot: SlotAttributes| slot.is_selectable() && !slot.is_successful();
        let runs = attempt.partuuid == self.running;
        self.holds(attempt) && (runs || self.attributes(&attempt.partuuid).is_some_and(untried))
    }

    /// Whether an attempt that was cut had staged its update.
    fn is_staged(&self, attempt: &Attempt) -> bool {
        self.holds(attempt) && self.staged == Some(attempt.partuuid.as_str())
    }

    /// Whether the attempt's slot still holds its payload.
    fn holds(&self, attempt: &Attempt) -> bool {
        self.history.payload_in(&attempt.partuuid) == Some(&attempt.sha256)
    }

    /// Whether the loader takes the slot at the next boot.
    fn boots_next(&self, partuuid: &str) -> bool {
        let slots = self.slots.iter();
        let choice = choose(slots.map(|(slot, attributes)| (slot, *attributes)));
        choice.is_some_and(|choice| choice.slot == partuuid)
    }

    /// The state of an attempt that was installed.
    fn state_of(&self, attempt: &Attempt) -> (AttemptState, Option<String>) {
        use AttemptState::{Kept, OnTrial, RolledBack, Staged, Waiting, Withdrawn};
        if let Some(rollback) = self.history.last_rollback()
            && rollback.payload.sha256 == Some(attempt.sha256)
            && rollback.noticed >= attempt.began
        {
            return (RolledBack, Some(rollback.cause.clone()));
        }
        let Some(slot) = self.attributes(&attempt.partuuid) else {
            return (attempt.state, None);
        };
        let runs = attempt.partuuid == self.running;
        match attempt.state {
            Kept | RolledBack => (attempt.state, None),
            // A slot that was only put behind the other one may be taken all the same.
            Withdrawn if !(runs && self.holds(attempt)) => (Withdrawn, None),
            _ if runs && slot.is_successful() => (Kept, None),
            _ if runs => (OnTrial, None),
            Waiting | Staged if slot.priority().get() == 0 => {
                let is_staged = self.staged == Some(attempt.partuuid.as_str());
                (if is_staged { Staged } else { Withdrawn }, None)
            }
            Waiting | Staged if slot.tries().get() > 0 && self.boots_next(&attempt.partuuid) => {
                (Waiting, None)
            }
            Waiting | Staged if slot.tries().get() > 0 => (Withdrawn, None),
            _ if slot.is_successful() => (attempt.state, None),
            _ => (
                RolledBack,
                Some("went down before it was found healthy".to_owned()),
            ),
        }
    }
}

/// The last attempts, oldest first. Its JSON form is meant for a record; of another version's
/// attempts those count that say when they began, and where and with which payload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempts(#[serde(deserialize_with = "known_attempts")] Vec<Attempt>);

/// Reads the attempts that this version understands. A list of which it understands none is
/// refused.
fn known_attempts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Attempt>, D::Error> {
    let values = Vec::<Value>::deserialize(deserializer)?;
    let has_any = !values.is_empty();
    let known: Vec<Attempt> = tolerant::known(Value::Array(values)).map_err(D::Error::custom)?;
    if has_any && known.is_empty() {
        return Err(D::Error::custom("none of its entries is an attempt"));
    }
    Ok(known)
}

impl Attempts {
    /// Begins an attempt. One that is still under way counts as interrupted.
    pub fn begin(&mut self, attempt: Attempt) {
        self.interrupt();
        self.0.push(attempt);
        self.bound();
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Attempt> {
        self.0.iter_mut()
    }

    /// Ends the attempt under way: `end` sets its state.
    pub fn end(&mut self, end: impl FnOnce(&mut Attempt)) {
        let last = self.0.last_mut();
        let Some(last) = last.filter(|last| last.state == AttemptState::UnderWay) else {
            return;
        };
        end(last);
        if let [.., before, last] = self.0.as_mut_slice()
            && last.repeats(before)
        {
            last.times = before.times.saturating_add(1);
            self.0.remove(self.0.len() - 2);
        }
        self.bound();
    }

    /// Concludes at the daemon's start what became of attempts that an earlier process left.
    pub fn started(&mut self, look: Option<DiskView<'_>>) {
        for attempt in &mut self.0 {
            if attempt.state == AttemptState::UnderWay && look.is_some_and(|look| look.is_committed(attempt))
            {
                attempt.state = AttemptState::Waiting;
            }
            if attempt.state == AttemptState::UnderWay && look.is_some_and(|look| look.is_staged(attempt)) {
                attempt.state = AttemptState::Staged;
            }
        }
        self.interrupt();
        if let Some(look) = look {
            self.settle(look);
        }
    }

    /// Updates the states of installed attempts from the disk and the history.
    pub fn settle(&mut self, look: DiskView<'_>) {
        let mut overwritten: Vec<String> = Vec::new();
        for attempt in self.0.iter_mut().rev().filter(|attempt| attempt.is_installed()) {
            if overwritten.contains(&attempt.partuuid) {
                if matches!(attempt.state, AttemptState::Waiting | AttemptState::Staged) {
                    attempt.state = AttemptState::Withdrawn;
                }
                continue;
            }
            overwritten.push(attempt.partuuid.clone());
            let (state, why) = look.state_of(attempt);
            attempt.state = state;
            if let Some(why) = why {
                attempt.why = why;
            }
        }
        self.bound();
    }

    /// Notes what there is to say of the last update that was installed in the slot with this
    /// PARTUUID.
    pub fn remark(&mut self, partuuid: &str, remark: &str) {
        let mut installed = self.0.iter_mut().rev().filter(|attempt| attempt.is_installed());
        if let Some(attempt) = installed.find(|attempt| attempt.partuuid == partuuid) {
            remark.clone_into(&mut attempt.why);
        }
        self.bound();
    }

    /// Iterates over the attempts, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.0.iter()
    }

    fn interrupt(&mut self) {
        for attempt in &mut self.0 {
            if attempt.state == AttemptState::UnderWay {
                attempt.state = AttemptState::Interrupted;
                "the power was cut, or the daemon was killed".clone_into(&mut attempt.why);
            }
        }
    }

    /// Bounds the list and its texts, however long a file or a server made them.
    fn bound(&mut self) {
        let excess = self.0.len().saturating_sub(MOST);
        self.0.drain(..excess);
        for attempt in &mut self.0 {
            let Attempt {
                from,
                to,
                slot,
                partuuid,
                why,
                content,
                ..
            } = attempt;
            let of_content = content.iter_mut().flat_map(|content| {
                let ContentUse { package, failure, .. } = content;
                std::iter::once(package).chain(failure)
            });
            for text in [from, to, slot, partuuid, why].into_iter().chain(of_content) {
                if let Some((end, _)) = text.char_indices().nth(LONGEST) {
                    text.truncate(end);
                    text.push('…');
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
