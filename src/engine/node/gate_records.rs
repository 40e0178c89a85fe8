//! The records of the gate that needs no configuration: the baseline, and the last comparison with
//! it. Both slots' systems read both; one that can't be read requires nothing.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::machine::Machine;
use crate::health::baseline::{Baseline, GateRecord};
use crate::store::record::{self, RecordError, Version};

const BASELINE: &str = "/var/lib/update_engine/baseline";
const COMPARISON: &str = "/var/lib/update_engine/regressions";
const VERSION: Version = Version(1);
/// The largest system's record has half of it.
const LONGEST: usize = 4 << 20;

/// Reads and writes the records.
pub(super) struct GateRecords {
    pub(super) machine: Arc<Machine>,
}

impl GateRecords {
    /// What was well; nothing if that was never recorded.
    pub(super) fn baseline(&self) -> Result<Option<Baseline>, RecordError> {
        self.load(BASELINE)
    }

    pub(super) fn save_baseline(&self, baseline: &Baseline) -> Result<(), RecordError> {
        self.save(BASELINE, baseline)
    }

    /// The last comparison, if there was one.
    pub(super) fn comparison(&self) -> Result<Option<GateRecord>, RecordError> {
        self.load(COMPARISON)
    }

    pub(super) fn save_comparison(&self, comparison: &GateRecord) -> Result<(), RecordError> {
        self.save(COMPARISON, comparison)
    }

    fn load<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, RecordError> {
        let path = self.machine.host().path(file);
        let contents = record::load_short(&path, VERSION, LONGEST)?;
        let value = contents.map(|contents| serde_json::from_slice(&contents));
        value.transpose().map_err(|_| RecordError::NotARecord(path))
    }

    fn save(&self, file: &str, value: &impl Serialize) -> Result<(), RecordError> {
        // Plain numbers, texts and lists, all with string keys: they always have a JSON form.
        let contents = serde_json::to_vec(value).unwrap_or_default();
        record::save(&self.machine.host().path(file), VERSION, &contents)
    }
}
