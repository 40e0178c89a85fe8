//! Partitions beside the slot: `PARTITION_<name>`.

use payload_format::{FurtherPartitions, PartitionName};

use super::sources::Sources;
use crate::disk::PartitionPair;
use crate::plan::FurtherTarget;

/// What the keys begin with; the rest is what payloads call the partition.
pub(super) const PREFIX: &str = "PARTITION_";

/// The targets, ascending by name, and which settings can't be used, as `KEY=value`.
pub(super) fn read(sources: &Sources) -> (Vec<FurtherTarget>, Vec<String>) {
    let (mut targets, mut refused) = (Vec::new(), Vec::new());
    for (key, value) in sources.beginning_with(PREFIX) {
        let target = target(&key, &value).filter(|_| targets.len() < FurtherPartitions::MAX);
        match target {
            Some(target) => targets.push(target),
            // As everywhere, an empty value in a file that comes first unsets what a later one says.
            None if value.is_empty() => {}
            None => refused.push(format!("{key}={value}")),
        }
    }
    (targets, refused)
}

fn target(key: &str, value: &str) -> Option<FurtherTarget> {
    Some(FurtherTarget {
        name: PartitionName::new(key.strip_prefix(PREFIX)?)?,
        pair: PartitionPair::parse(value).ok()?,
    })
}
