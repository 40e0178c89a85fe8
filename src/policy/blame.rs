//! Payloads that this machine rolled back from.

use serde::{Deserialize, Serialize};

use super::UnixTime;

/// Most payloads remembered; the oldest is forgotten first.
const MOST: usize = 16;

/// One payload that booted and was not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blame {
    /// SHA-256 of the payload.
    pub sha256: [u8; 32],
    /// Its version, for display.
    pub version: String,
    /// When the rollback was noticed.
    pub noticed: UnixTime,
    /// Why it was not kept, as far as anybody knows.
    pub cause: String,
}

/// The payloads not to be installed again unless somebody asks. Its JSON form is meant for a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlamedPayloads(Vec<Blame>);

impl BlamedPayloads {
    /// Remembers one; again and again is once, at the last time.
    pub fn add(&mut self, blame: Blame) {
        self.forgive(&blame.sha256);
        self.0.push(blame);
        let excess = self.0.len().saturating_sub(MOST);
        self.0.drain(..excess);
    }

    /// The blame of the payload with this hash.
    #[must_use]
    pub fn find(&self, sha256: &[u8; 32]) -> Option<&Blame> {
        self.0.iter().find(|blame| blame.sha256 == *sha256)
    }

    /// Forgets a payload, such as one that has been marked good since.
    pub fn forgive(&mut self, sha256: &[u8; 32]) {
        self.0.retain(|blame| blame.sha256 != *sha256);
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Blame> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blame(number: u8) -> Blame {
        Blame {
            sha256: [number; 32],
            version: number.to_string(),
            noticed: UnixTime(i64::from(number)),
            cause: "did not come up".to_owned(),
        }
    }

    #[test]
    fn only_the_latest_are_remembered_and_each_once() {
        let mut blamed = BlamedPayloads::default();
        for number in 0..20 {
            blamed.add(blame(number));
            blamed.add(blame(number));
        }
        assert_eq!(blamed.iter().count(), MOST);
        assert_eq!(blamed.find(&[3; 32]), None);
        assert_eq!(blamed.find(&[4; 32]), Some(&blame(4)));
    }

    #[test]
    fn a_forgiven_payload_is_not_blamed() {
        let mut blamed = BlamedPayloads::default();
        blamed.add(blame(1));
        blamed.forgive(&[1; 32]);
        assert_eq!(blamed, BlamedPayloads::default());
    }
}
