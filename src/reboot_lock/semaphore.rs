//! The semaphore that nodes share: locksmith's JSON, with room beside the holders. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// More holders than any lock has.
const MOST_HOLDERS: usize = 10_000;

/// `{"semaphore":1,"max":1,"holders":null}`, as locksmith writes it: to the byte, unless there are notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Semaphore {
    /// Places that are left; negative if `max` was set below the number of holders.
    pub semaphore: i64,
    /// Places in all.
    pub max: i64,
    /// Ids of those who hold one, ascending; `null` before the first.
    pub holders: Option<Vec<String>>,
    /// What is told about holders. Only where locksmith, which would drop it, doesn't read: in etcd's v3 API.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, Note>,
    /// What a later version has written.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What is told about a holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    /// The version that it reboots into, or has left.
    pub version: String,
    /// The cause of the rollback that it holds the lock for; empty as long as there is none.
    pub cause: String,
    /// What a later version has written.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What is wrong with a semaphore.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SemaphoreFault {
    /// Text that is no semaphore's JSON.
    #[error("what stands there is no semaphore: {0}")]
    NotOne(String),
    /// More holders than anybody has nodes.
    #[error("it has {0} holders")]
    TooManyHolders(usize),
}

/// A change that is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No place is left.
    #[error("semaphore is at {0}")]
    Full(i64),
    /// Locksmith refuses one that is there already; the manager doesn't.
    #[error("holder exists")]
    Exists,
    /// Only a holder can unlock.
    #[error("holder does not exist")]
    Missing,
}

impl Default for Semaphore {
    /// One that nobody has taken yet.
    fn default() -> Self {
        Self {
            semaphore: 1,
            max: 1,
            holders: None,
            notes: BTreeMap::new(),
            rest: Map::new(),
        }
    }
}

impl Semaphore {
    /// Reads one.
    ///
    /// # Errors
    /// `SemaphoreFault`.
    pub fn read(text: &[u8]) -> Result<Self, SemaphoreFault> {
        let read: Self =
            serde_json::from_slice(text).map_err(|error| SemaphoreFault::NotOne(error.to_string()))?;
        match read.holders().len() {
            many if many > MOST_HOLDERS => Err(SemaphoreFault::TooManyHolders(many)),
            _ => Ok(read),
        }
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> String {
        // A plain record with text for keys: it always has a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Those who hold a place.
    #[must_use]
    pub fn holders(&self) -> &[String] {
        self.holders.as_deref().unwrap_or_default()
    }

    /// Whether `id` holds one.
    #[must_use]
    pub fn is_held_by(&self, id: &str) -> bool {
        self.holders().iter().any(|holder| holder == id)
    }

    /// With a place for `id`, which has none.
    ///
    /// # Errors
    /// [`Refusal::Full`], as locksmith, or if there are as many holders as places whatever the count says; or
    /// [`Refusal::Exists`].
    pub fn lock(&self, id: &str) -> Result<Self, Refusal> {
        let taken = i64::try_from(self.holders().len()).unwrap_or(i64::MAX);
        if self.semaphore <= 0 || taken >= self.max {
            return Err(Refusal::Full(self.semaphore.min(0)));
        }
        if self.is_held_by(id) {
            return Err(Refusal::Exists);
        }
        let mut holders = self.holders().to_vec();
        holders.push(id.to_owned());
        holders.sort();
        Ok(Self {
            semaphore: self.semaphore - 1,
            holders: Some(holders),
            ..self.clone()
        })
    }

    /// Without that of `id`.
    ///
    /// # Errors
    /// [`Refusal::Missing`].
    pub fn unlock(&self, id: &str) -> Result<Self, Refusal> {
        if !self.is_held_by(id) {
            return Err(Refusal::Missing);
        }
        let mut after = self.clone();
        after.notes.remove(id);
        let left: Vec<String> = self
            .holders()
            .iter()
            .filter(|holder| *holder != id)
            .cloned()
            .collect();
        // One that stands there twice has taken two places.
        let freed = i64::try_from(self.holders().len() - left.len()).unwrap_or(i64::MAX);
        after.semaphore = self.semaphore.saturating_add(freed);
        after.holders = Some(left);
        Ok(after)
    }

    /// With `max` places in all. Below the number of holders nobody gets one until enough have unlocked.
    #[must_use]
    pub fn with_max(&self, max: i64) -> Self {
        let more = max.saturating_sub(self.max);
        Self {
            semaphore: self.semaphore.saturating_add(more),
            max,
            ..self.clone()
        }
    }

    /// With something told about a holder.
    #[must_use]
    pub fn with_note(&self, id: &str, note: Note) -> Self {
        let mut after = self.clone();
        after.notes.insert(id.to_owned(), note);
        after
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn texts(semaphore: &Semaphore) -> String {
        semaphore.text()
    }

    #[test]
    fn it_is_written_as_locksmith_writes_it() {
        let free = Semaphore::default();
        assert_eq!(texts(&free), r#"{"semaphore":1,"max":1,"holders":null}"#);
        let held = free.lock("b").unwrap();
        assert_eq!(texts(&held), r#"{"semaphore":0,"max":1,"holders":["b"]}"#);
        assert_eq!(held.lock("b").unwrap_err().to_string(), "semaphore is at 0");
        assert_eq!(held.unlock("a").unwrap_err().to_string(), "holder does not exist");
        let three = held.with_max(3);
        assert_eq!(texts(&three), r#"{"semaphore":2,"max":3,"holders":["b"]}"#);
        let two = three.lock("a").unwrap();
        assert_eq!(texts(&two), r#"{"semaphore":1,"max":3,"holders":["a","b"]}"#);
        assert_eq!(two.lock("a"), Err(Refusal::Exists));
        let below = two.lock("c").unwrap().with_max(1);
        assert_eq!(
            texts(&below),
            r#"{"semaphore":-2,"max":1,"holders":["a","b","c"]}"#
        );
        assert_eq!(
            texts(&held.unlock("b").unwrap()),
            r#"{"semaphore":1,"max":1,"holders":[]}"#
        );
    }

    #[test]
    fn a_count_that_is_wrong_makes_no_more_holders_than_places() {
        let wrong = Semaphore::read(br#"{"semaphore":1,"max":1,"holders":["a"]}"#).unwrap();
        assert_eq!(wrong.lock("b"), Err(Refusal::Full(0)));
        // Nor fewer places than there are: it would be taken by nobody for ever.
        let twice = Semaphore::read(br#"{"semaphore":0,"max":2,"holders":["a","a"]}"#).unwrap();
        assert_eq!(
            twice.unlock("a").unwrap().text(),
            r#"{"semaphore":2,"max":2,"holders":[]}"#
        );
    }

    #[test]
    fn what_a_later_version_has_written_stays() {
        let later = r#"{"semaphore":1,"max":1,"holders":[],"colour":"red"}"#;
        let read = Semaphore::read(later.as_bytes()).unwrap();
        assert_eq!(read.text(), later);
        let noted = read.lock("a").unwrap().with_note(
            "a",
            Note {
                version: "2".to_owned(),
                cause: "bad".to_owned(),
                ..Note::default()
            },
        );
        assert!(
            noted
                .text()
                .contains(r#""notes":{"a":{"version":"2","cause":"bad"}}"#)
        );
        assert_eq!(noted.unlock("a").unwrap().notes.len(), 0);
        // Also beside another holder.
        let later =
            r#"{"semaphore":1,"max":2,"holders":["b"],"notes":{"b":{"version":"2","cause":"","since":7}}}"#;
        let read = Semaphore::read(later.as_bytes()).unwrap();
        assert!(read.lock("a").unwrap().text().contains(r#""since":7"#));
    }

    #[test]
    fn what_is_no_semaphore_is_refused() {
        for text in [
            "",
            "null",
            "{}",
            "[1]",
            r#"{"semaphore":"1","max":1,"holders":[]}"#,
        ] {
            assert!(Semaphore::read(text.as_bytes()).is_err(), "{text}");
        }
        let names: Vec<String> = (0..=MOST_HOLDERS).map(|number| number.to_string()).collect();
        let text = serde_json::json!({"semaphore": 1, "max": 1, "holders": names}).to_string();
        assert_eq!(
            Semaphore::read(text.as_bytes()),
            Err(SemaphoreFault::TooManyHolders(MOST_HOLDERS + 1))
        );
    }
}
