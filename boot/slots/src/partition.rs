//! One entry of the table.

use alloc::string::String;
use core::fmt;
use core::num::NonZeroU32;

use crate::{Guid, SlotAttributes};

/// Number of a partition as people and tools count: from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionNumber(NonZeroU32);

impl PartitionNumber {
    /// `number`, if it isn't 0.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// As people count: from 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// Index into the entries: from 0.
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0.get() - 1).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for PartitionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A used entry of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub number: PartitionNumber,
    /// What it is for.
    pub kind: Guid,
    /// PARTUUID.
    pub guid: Guid,
    /// First sector.
    pub first_lba: u64,
    /// Last sector, itself included.
    pub last_lba: u64,
    /// The attribute word.
    pub attributes: SlotAttributes,
    /// PARTLABEL; what isn't UTF-16 becomes U+FFFD.
    pub label: String,
}

/// Where the attribute word lies in an entry.
pub(crate) const ATTRIBUTES: core::ops::Range<usize> = 48..56;
/// The smallest entry.
pub(crate) const MIN_ENTRY: usize = 128;

impl Partition {
    /// The used entry in `bytes`, at least [`MIN_ENTRY`] long; `None` if it is unused.
    pub(crate) fn parse(number: PartitionNumber, bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MIN_ENTRY] = bytes.first_chunk()?;
        let kind = Guid::from_bytes(field(bytes, 0));
        if kind == Guid::UNUSED {
            return None;
        }
        Some(Self {
            number,
            kind,
            guid: Guid::from_bytes(field(bytes, 16)),
            first_lba: u64::from_le_bytes(field(bytes, 32)),
            last_lba: u64::from_le_bytes(field(bytes, 40)),
            attributes: SlotAttributes::from_word(u64::from_le_bytes(field(bytes, ATTRIBUTES.start))),
            label: label(&bytes[56..]),
        })
    }

    /// Whether both share a sector.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.first_lba <= other.last_lba && other.first_lba <= self.last_lba
    }
}

/// `N` bytes at a fixed offset; both are constants of the format, inside the array.
pub(crate) fn field<const N: usize, const LEN: usize>(bytes: &[u8; LEN], offset: usize) -> [u8; N] {
    core::array::from_fn(|index| bytes[offset + index])
}

fn label(utf16: &[u8]) -> String {
    let units = utf16
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|&unit| unit != 0);
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}
