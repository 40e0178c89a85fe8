//! Numbers on the medium: little-endian.

/// Numbers and bytes in a structure, by their place; `None` past the end.
#[derive(Clone, Copy)]
pub(super) struct DiskStructure<'a>(pub(super) &'a [u8]);

impl<'a> DiskStructure<'a> {
    pub(super) fn bytes(self, at: usize, len: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(len)?)
    }

    pub(super) fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub(super) fn u16(self, at: usize) -> Option<u16> {
        self.0
            .get(at..)?
            .first_chunk()
            .map(|bytes| u16::from_le_bytes(*bytes))
    }

    pub(super) fn u32(self, at: usize) -> Option<u32> {
        self.0
            .get(at..)?
            .first_chunk()
            .map(|bytes| u32::from_le_bytes(*bytes))
    }

    pub(super) fn u64(self, at: usize) -> Option<u64> {
        self.0
            .get(at..)?
            .first_chunk()
            .map(|bytes| u64::from_le_bytes(*bytes))
    }
}
