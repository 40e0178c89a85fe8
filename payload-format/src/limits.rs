//! Limits of what a payload may claim, checked before anything is allocated or believed.

use crate::partition::ExtraPartitionLimits;

const MIB: u64 = 1 << 20;

/// Bounds for one payload. Each names the attack that it stops; the defaults hold every payload
/// seen in practice many times over and keep a reader's memory within some 50 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of the target slot in bytes. Nothing is ever placed past it.
    pub slot_len: u64,
    /// Extra partitions that may be built, and their lengths.
    pub extra_partitions: ExtraPartitionLimits,
    /// Size of the whole payload as offered, in bytes. A manifest that adds up to anything else is
    /// refused before its first operation.
    pub payload_size: Option<u64>,
    /// Size of header and manifest as offered, in bytes; likewise.
    pub metadata_size: Option<u64>,
    /// Length in bytes up to which a procedure may build its file: a small manifest must not fill
    /// the boot partition or the disk.
    pub file_len: u64,
    /// Length of the manifest in bytes: it is held in memory, and comes before anything is
    /// verified.
    pub manifest_len: u64,
    /// Operations, noop ones included: two bytes on the wire become some 200 in memory.
    pub operations: usize,
    /// Extents of all operations together: likewise.
    pub extents: usize,
    /// Content payloads are taken: whoever reads them builds their image from content tables.
    pub content_payloads: bool,
    /// Operation data up to this many bytes is handed out whole and verified; larger data streams.
    pub whole_data: u64,
}

impl Limits {
    /// The defaults, for a slot of so many bytes. `u64::MAX` serves where there is no slot, as when
    /// a payload is only looked at.
    #[must_use]
    pub const fn for_slot(slot_len: u64) -> Self {
        Self {
            slot_len,
            extra_partitions: ExtraPartitionLimits::NONE,
            payload_size: None,
            metadata_size: None,
            file_len: 256 * MIB,
            manifest_len: 8 * MIB,
            operations: 1 << 16,
            extents: 1 << 19,
            content_payloads: false,
            whole_data: 16 * MIB,
        }
    }
}
