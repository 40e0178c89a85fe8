//! One operation as it was written down.

use super::message::EncodedMessage;
use crate::wire;

/// What an operation says of itself.
#[derive(Debug, Clone, Copy)]
pub struct OutlinedOperation<'a>(pub(super) EncodedMessage<'a>);

impl<'a> OutlinedOperation<'a> {
    /// The number of its type.
    #[must_use]
    pub fn number(self) -> Option<i64> {
        self.0.number(1).map(u64::cast_signed)
    }

    /// The original's name of that type, if it has one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        wire::operation_name(i32::try_from(self.number()?).ok()?)
    }

    /// Where its data begins, from the end of the metadata.
    #[must_use]
    pub fn data_offset(self) -> Option<u64> {
        self.0.number(2)
    }

    /// Bytes of its data.
    #[must_use]
    pub fn data_len(self) -> Option<u64> {
        self.0.number(3)
    }

    /// The hash of its data, of whatever length.
    #[must_use]
    pub fn data_hash(self) -> Option<&'a [u8]> {
        self.0.bytes(8)
    }

    /// First block and number of blocks of each extent that it writes; no first block where nothing
    /// is written.
    pub fn destination(self) -> impl Iterator<Item = (Option<u64>, u64)> + use<'a> {
        self.0.all(6).map(|extent| extent_of(EncodedMessage(extent)))
    }
}

pub(super) fn extent_of(extent: EncodedMessage<'_>) -> (Option<u64>, u64) {
    let start = extent.number(1).unwrap_or(0);
    let start = (start != wire::SPARSE_HOLE).then_some(start);
    (start, extent.number(2).unwrap_or(0))
}
