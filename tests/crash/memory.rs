//! What must be remembered after a cut, read and judged without the daemon's code.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::image::word_of;
use crate::readers;
use crate::story::{
    A, B, BY_HAND, CAUSE, FALLBACK, FILLED_A, HISTORY, RUNNING, STAGED, Story, WAITING, pref, sha256,
};
use crate::tree::Files;

/// What the update server has heard by the time of the cut.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    /// An event of a failure: here, the rollback.
    pub(crate) rollback: bool,
    /// An event of the version before.
    pub(crate) news: bool,
}

impl Told {
    /// From all that went over the network.
    pub(crate) fn from(sent: &[u8]) -> Self {
        let sent = String::from_utf8_lossy(sent);
        Self {
            rollback: sent.contains("eventresult=\"0\""),
            news: sent.contains("previousversion=\"0.9.0\""),
        }
    }
}

type Verdict = Result<(), String>;

/// One look at the record of what became of updates.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    history: Value,
    payload: Value,
}

/// How the table stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    b: Standing,
    /// Whether it is slot B that boots next.
    b_is_next: bool,
}

impl Moment {
    /// From the table's entries; there may be none.
    pub(crate) fn of(entries: &[u8]) -> Self {
        let word = if entries.is_empty() {
            0
        } else {
            word_of(entries, 4)
        };
        Self {
            b: Standing::of(word),
            b_is_next: readers::chosen(entries) == Some(4),
        }
    }
}

/// How slot B stands in the table.
#[derive(Debug, Clone, Copy)]
struct Standing {
    priority: u64,
    tries: u64,
    good: bool,
}

impl Standing {
    const fn of(word: u64) -> Self {
        Self {
            priority: word >> 48 & 15,
            tries: word >> 52 & 15,
            good: word >> 56 & 1 == 1,
        }
    }

    const fn has_failed(self) -> bool {
        self.priority > 0 && self.tries == 0 && !self.good
    }
}

impl Memory {
    /// The record among `files`, of a node to which `payload` was offered.
    pub(crate) fn of(files: &Files, payload: &[u8]) -> Result<Self, String> {
        let history = match files.get(HISTORY) {
            None => Value::Null,
            Some(bytes) => contents(bytes).ok_or("the history is damaged")?,
        };
        Ok(Self {
            history,
            payload: sha256(payload),
        })
    }

    fn trial(&self) -> Option<&Value> {
        let trial = self.history.get("trial").filter(|trial| !trial.is_null())?;
        (trial["partuuid"] == B && trial["payload"]["sha256"] == self.payload).then_some(trial)
    }

    fn progress(&self) -> Option<&Value> {
        self.trial().map(|trial| &trial["progress"])
    }

    fn cause(&self) -> Option<&str> {
        self.progress()?.get("GivenUp")?.get("cause")?.as_str()
    }

    /// The cause for which the payload is blamed.
    fn blamed(&self) -> Option<&str> {
        let blamed = self.history.get("blamed")?.as_array()?;
        let blame = blamed.iter().find(|blame| blame["sha256"] == self.payload)?;
        blame["cause"].as_str()
    }

    fn is_unreported(&self) -> bool {
        self.history.get("unreported") == Some(&json!(true))
    }

    /// Whether both say the same of trials and payloads.
    fn agrees(&self, other: &Self) -> bool {
        let told = |memory: &Self| (memory.trial().cloned(), memory.is_unreported());
        told(self) == told(other) && self.blamed() == other.blamed()
    }

    /// The cause for which what slot A was filled from is blamed.
    fn a_is_blamed(&self) -> Option<&str> {
        let a = Self {
            payload: sha256(FILLED_A),
            ..self.clone()
        };
        a.blamed()
            .map(|cause| if cause == BY_HAND { BY_HAND } else { "?" })
    }

    fn is_leaving_a(&self) -> bool {
        self.history.get("leaving") == Some(&json!(A))
    }

    /// A rollback by hand that did not come about is taken back, once the running slot is marked
    /// good.
    pub(crate) fn check_stay(&self) -> Verdict {
        require(
            !self.is_leaving_a() && self.a_is_blamed().is_none(),
            "slot A stays, and what it holds is to be left still",
        )
    }

    /// What slot B is said to hold.
    fn version_in_b(&self) -> Option<&str> {
        self.history.get("held")?.get(B)?.get("version")?.as_str()
    }

    /// Whether what `story` has to keep is there, if the power fails while the table stands like
    /// this.
    pub(crate) fn check(&self, story: Story, files: &Files, moment: Moment, told: Told) -> Verdict {
        let standing = moment.b;
        match story {
            Story::Update => self.check_update(files, standing, told),
            Story::Staged => {
                require(
                    standing.tries == 0 && !moment.b_is_next,
                    "the new slot boots next, and was only to be staged",
                )?;
                self.check_update(files, standing, told)
            }
            Story::Unstaged => require(
                standing.priority == 0 && !moment.b_is_next,
                "the new slot boots next, and was withdrawn",
            ),
            Story::Activated | Story::ActivatedByReboot => {
                require(
                    standing.tries == 0 || self.progress() == Some(&json!("Committed")),
                    "the new slot boots next, and a rollback from it could not be noticed",
                )?;
                require(
                    standing.tries > 0 || files.contains_key(STAGED),
                    "the staged update is forgotten before it boots next",
                )
            }
            Story::Superseded => self.check_superseded(files, standing),
            Story::WentBack => require(
                !moment.b_is_next
                    || self.is_leaving_a() && self.a_is_blamed() == Some(BY_HAND) && self.blamed().is_none(),
                "the other slot is next by order, and what is left would be installed again",
            ),
            Story::Kept => require(
                standing.good || self.trial().is_some(),
                "the trial is forgotten before the slot is good",
            ),
            Story::GivenUp => require(
                standing.tries > 0 || self.cause().is_some_and(|cause| cause.contains("50-api")),
                "the slot was given up, and nobody knows why",
            ),
            Story::RolledBack => {
                require(
                    self.cause() == Some(CAUSE) || self.blamed() == Some(CAUSE),
                    "the payload that failed is forgotten, or why it did",
                )?;
                require(
                    self.trial().is_some() || self.is_unreported() || told.rollback,
                    "the rollback counts as reported and was not told",
                )
            }
            Story::Reset | Story::Withdrawn => require(self.trial().is_some(), "the trial is forgotten"),
        }
    }

    fn check_update(&self, files: &Files, standing: Standing, told: Told) -> Verdict {
        require(
            standing.tries == 0 || self.progress() == Some(&json!("Committed")),
            "the new slot boots next, and a rollback from it could not be noticed",
        )?;
        require(
            standing.good || self.version_in_b() != Some(FALLBACK),
            "the slot was touched, and counts as what it held before",
        )?;
        let news = files.get(&pref("previous-version"));
        require(
            told.news || news.is_some_and(|news| news == b"0.9.0"),
            "the news of the last update is forgotten and was not told",
        )?;
        let resumption = files.get(&pref("update-state-next-operation"));
        require(
            standing.good || resumption.is_some_and(|next| next == b"-1"),
            "the slot was touched, and the original would resume into it",
        )
    }

    fn check_superseded(&self, files: &Files, standing: Standing) -> Verdict {
        require(
            standing.tries == 0 || self.progress() == Some(&json!("Committed")),
            "a slot boots next, and a rollback from it would blame another payload",
        )?;
        require(
            standing.tries > 0 || self.version_in_b() != Some(WAITING),
            "the slot was touched, and counts as what it held before",
        )?;
        require(
            files.get(&pref("previous-version")).map(Vec::as_slice) == Some(RUNNING),
            "the news of the update that waits is forgotten",
        )
    }

    /// Whether the daemon, started in the slot `running` (3 or 4), has made of `before` what it had
    /// to.
    pub(crate) fn check_look(&self, before: &Self, running: u8, moment: Moment) -> Verdict {
        if before.is_leaving_a() {
            let cause = self.history["last_rollback"].get("cause");
            require(
                self.is_leaving_a() == (running == 3) && (running == 3 || cause == Some(&json!(BY_HAND))),
                "it is not known that slot A was left by order",
            )?;
        }
        let Some(progress) = before.progress() else {
            return require(self.agrees(before), "the look back invents something");
        };
        let standing = moment.b;
        let given_up = progress.get("GivenUp").is_some();
        if running == 4 && standing.good {
            return require(
                self.trial().is_none() && self.blamed().is_none(),
                "a slot that is good still counts as on trial, or its payload as bad",
            );
        }
        if running == 4 {
            return require(
                given_up && self.agrees(before) || self.progress() == Some(&json!("CameUp")),
                "it is not known that the slot came up",
            );
        }
        if !standing.has_failed() {
            return require(self.agrees(before), "the look back changes what has not ended");
        }
        require(self.trial().is_none(), "a trial that failed goes on")?;
        let expected = match progress {
            Value::String(text) if text == "Committed" => Some("did not come up"),
            // Nobody is to blame for a cut while the slot's health was looked at.
            Value::String(_) => None,
            _ => before.cause(),
        };
        require(
            self.blamed() == expected && self.is_unreported() == expected.is_some(),
            &format!("the payload is blamed for {:?}, not {expected:?}", self.blamed()),
        )
    }
}

fn require(holds: bool, otherwise: &str) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// The contents of a record whose checksum is right.
fn contents(bytes: &[u8]) -> Option<Value> {
    let (checked, checksum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    let rest = checked.strip_prefix(b"UpdEngSt\0\0\0\x01")?;
    let (length, contents) = rest.split_first_chunk::<8>()?;
    let right =
        digest(&SHA256, checked).as_ref() == checksum && u64::from_be_bytes(*length) == contents.len() as u64;
    serde_json::from_slice(contents).ok().filter(|_| right)
}
