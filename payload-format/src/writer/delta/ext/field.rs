//! Numbers on the medium: little-endian.

/// Numbers in a structure, by their place.
#[derive(Clone, Copy)]
pub(super) struct Field<'a>(pub(super) &'a [u8]);

impl Field<'_> {
    /// 0 past the end.
    pub(super) fn u16(self, at: usize) -> u16 {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }

    /// Likewise.
    pub(super) fn u32(self, at: usize) -> u32 {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}
