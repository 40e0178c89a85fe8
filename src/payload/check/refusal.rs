//! Refusals of a payload whose form is right, by every node.

use payload_format::{ExtraPartitionLimits, ImageKind, MajorVersion};

/// Why every node refuses a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeRefusal {
    /// No key can vouch for it.
    #[error("the payload is not signed")]
    Unsigned,
    /// No key can vouch for its metadata, as one must before the first write.
    #[error("its metadata is not signed, as that of major version 2 must be")]
    MetadataUnsigned,
    /// A delta of what is never kept.
    #[error("its {0} is a delta, and nodes keep no old one")]
    NoOld(ImageKind),
    /// More partitions than a configuration can name.
    #[error(
        "it brings {0} partitions beside usr, kernel and pcr_policy; a node's configuration names {max} at most",
        max = ExtraPartitionLimits::MAX
    )]
    Partitions(usize),
}

/// Of what it builds: each image by what it is on nodes, if it is any, and whether it is a delta.
pub(in crate::payload) fn of_images(
    images: impl Iterator<Item = (Option<ImageKind>, bool)> + Clone,
) -> Vec<NodeRefusal> {
    let kinds = images.clone().filter_map(|(kind, _)| kind);
    let extra_partitions = kinds
        .filter(|kind| matches!(kind, ImageKind::ExtraPartition(_)))
        .count();
    let mut refusals: Vec<_> = images
        .filter_map(|(kind, is_delta)| kind.filter(|kind| is_delta && !kind.has_old()))
        .map(NodeRefusal::NoOld)
        .collect();
    if extra_partitions > ExtraPartitionLimits::MAX {
        refusals.push(NodeRefusal::Partitions(extra_partitions));
    }
    refusals
}

/// Of the bytes of its signatures: its own, and those of its metadata.
pub(in crate::payload) fn unsigned(version: MajorVersion, own: u64, of_metadata: u64) -> Vec<NodeRefusal> {
    let of_metadata = version == MajorVersion::V2 && of_metadata == 0;
    let of_metadata = of_metadata.then_some(NodeRefusal::MetadataUnsigned);
    let own = (own == 0).then_some(NodeRefusal::Unsigned);
    own.into_iter().chain(of_metadata).collect()
}
