//! The report of the gate that needs no configuration: what is recorded and required, and what the
//! last comparison found. Times are Unix times in seconds.

use serde::{Deserialize, Serialize};
use zbus::wire::{Type, Variant};

/// One thing that was worse than before an update, or gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct HealthFinding {
    /// `extension`, `confext`, `unit` or `route`.
    pub subject: String,
    /// Its name.
    pub name: String,
    /// Whether it is the image's doing, and the same at every boot.
    pub certain: bool,
    /// What it was.
    pub before: String,
    /// What it was found to be.
    pub now: String,
    /// All of that in a sentence.
    pub sentence: String,
}

/// What the gate requires, and what it found last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct HealthReport {
    /// `rollback`, `report` or `off`.
    pub mode: String,
    /// When what is well was recorded; none if nothing is.
    pub recorded: Option<i64>,
    /// The version that ran then.
    pub recorded_version: Option<String>,
    /// Seconds for which the system had been up then.
    pub recorded_up: Option<u64>,
    /// Units that were well.
    pub required_units: Vec<String>,
    /// Merged system extensions.
    pub required_extensions: Vec<String>,
    /// Merged configuration extensions.
    pub required_confexts: Vec<String>,
    /// Whether there was a default route.
    pub required_route: bool,
    /// Units that had failed, of which nothing is required.
    pub failed_before: Vec<String>,
    /// Units of which nothing is required by configuration.
    pub excused: Vec<String>,
    /// When a new slot was last compared with the record; none if none was.
    pub compared: Option<i64>,
    /// The version that was compared.
    pub compared_version: Option<String>,
    /// `as-before`, `kept`, `left`, `not-compared` or `unknown`.
    pub outcome: Option<String>,
    /// Why it was not compared, or kept although something was lost for certain.
    pub reason: Option<String>,
    /// What was found, the certain first.
    pub findings: Vec<HealthFinding>,
}
