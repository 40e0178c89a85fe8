//! Extra partitions: `PARTITION_<name>`.

use payload_format::{ExtraPartitionLimits, PartitionName};

use super::sources::{ConfigFiles, ValueOrigin};
use crate::disk::PartitionPair;
use crate::plan::ExtraPartition;

/// What the keys begin with; the rest is what payloads call the partition.
pub(super) const PREFIX: &str = "PARTITION_";

/// A `PARTITION_…` that a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSetting {
    /// As it stands in the file.
    pub key: String,
    /// What the first file says that holds the key; not empty.
    pub value: String,
    /// Which one that is, and whether it counts.
    pub origin: ValueOrigin,
}

/// The targets, ascending by name, and which settings can't be used, as `KEY=value`.
pub(super) fn read(sources: &ConfigFiles) -> (Vec<ExtraPartition>, Vec<String>) {
    let (mut targets, mut refused) = (Vec::new(), Vec::new());
    for (setting, target) in found(sources) {
        match target {
            Some(target) => targets.push(target),
            None => refused.push(format!("{}={}", setting.key, setting.value)),
        }
    }
    (targets, refused)
}

/// The settings, ascending by key.
pub(super) fn settings(sources: &ConfigFiles) -> Vec<PartitionSetting> {
    found(sources).into_iter().map(|(setting, _)| setting).collect()
}

/// The settings, and what each that counts is.
fn found(sources: &ConfigFiles) -> Vec<(PartitionSetting, Option<ExtraPartition>)> {
    let (mut all, mut count) = (Vec::new(), 0);
    for (key, (file, value)) in sources.beginning_with(PREFIX) {
        let target = target(&key, &value).filter(|_| count < ExtraPartitionLimits::MAX);
        // As everywhere, an empty value in a file that comes first unsets what a later one says.
        if target.is_none() && value.is_empty() {
            continue;
        }
        count += usize::from(target.is_some());
        let origin = if target.is_some() {
            ValueOrigin::File(file)
        } else {
            ValueOrigin::Refused(file)
        };
        all.push((PartitionSetting { key, value, origin }, target));
    }
    all
}

fn target(key: &str, value: &str) -> Option<ExtraPartition> {
    Some(ExtraPartition {
        name: PartitionName::new(key.strip_prefix(PREFIX)?)?,
        pair: PartitionPair::parse(value).ok()?,
    })
}
