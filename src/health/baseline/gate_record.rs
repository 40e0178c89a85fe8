//! The outcome of a comparison, kept so that either slot's system can tell of it.

use serde::{Deserialize, Serialize};

use super::regression::Regression;
use crate::status::UnixTime;
use crate::store::tolerant;

/// What became of a slot that was compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateOutcome {
    /// Nothing is worse than before.
    AsBefore,
    /// Something is, and the slot stays.
    Kept,
    /// Something was lost for certain, and the slot is left.
    Left,
    /// Nothing could be compared.
    NotCompared,
    /// An outcome that another version has written.
    #[default]
    #[serde(other)]
    Unknown,
}

impl GateOutcome {
    /// Its word, as records and the bus have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AsBefore => "as-before",
            Self::Kept => "kept",
            Self::Left => "left",
            Self::NotCompared => "not-compared",
            Self::Unknown => "unknown",
        }
    }
}

/// The last comparison. Its JSON form is meant for a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateRecord {
    /// When it was made.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub compared: UnixTime,
    /// PARTUUID of the slot that was compared.
    #[serde(deserialize_with = "tolerant::text")]
    pub slot: String,
    /// The version in it.
    #[serde(deserialize_with = "tolerant::text")]
    pub version: String,
    /// What became of the slot.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub outcome: GateOutcome,
    /// Why nothing was compared, or why the slot stays although something was lost for certain; may
    /// be empty.
    #[serde(deserialize_with = "tolerant::text")]
    pub reason: String,
    /// What was lost for certain.
    #[serde(deserialize_with = "tolerant::known")]
    pub certain: Vec<Regression>,
    /// What was worse, and perhaps meant.
    #[serde(deserialize_with = "tolerant::known")]
    pub perhaps: Vec<Regression>,
}

impl GateRecord {
    /// What was found, each in a sentence, the certain first.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let found = self.certain.iter().chain(&self.perhaps);
        found.map(ToString::to_string).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_records_and_what_another_version_wrote_is_still_a_record() {
        for outcome in [
            GateOutcome::AsBefore,
            GateOutcome::Kept,
            GateOutcome::Left,
            GateOutcome::NotCompared,
        ] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.word());
        }
        let json = serde_json::json!({
            "compared": 7,
            "version": "2.0.0",
            "outcome": "postponed",
            "certain": [{"subject": "device", "name": "tpm0", "before": "there", "now": 9, "since": 1}, 3],
        });
        let record: GateRecord = serde_json::from_value(json).unwrap();
        assert_eq!((record.outcome, record.perhaps.len()), (GateOutcome::Unknown, 0));
        assert_eq!(record.sentences(), ["unit tpm0 9 (before: there)"]);
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<GateRecord>(&json).unwrap(), record);
    }
}
