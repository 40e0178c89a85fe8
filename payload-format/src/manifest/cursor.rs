//! The wire format of protobuf, field by field, with no schema.

use super::ManifestError;

/// A place in a message.
pub(crate) struct Cursor<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A number, which is passed.
    Number(u64),
    /// A number of four or eight bytes, which is passed.
    Fixed,
    /// So many bytes, which come next.
    Bytes(usize),
}

impl Cursor<'_> {
    /// The next field that ends by `end`, by its number.
    pub(crate) fn field(&mut self, end: usize) -> Result<(u64, Content), ManifestError> {
        let start = self.at;
        let broken = ManifestError::Broken(start);
        let tag = self.varint().ok_or(broken.clone())?;
        let content = match tag & 7 {
            0 => self.varint().map(Content::Number),
            1 => self.skip(8),
            2 => self
                .varint()
                .and_then(|len| usize::try_from(len).ok())
                .map(Content::Bytes),
            5 => self.skip(4),
            _ => None,
        };
        let content = content.ok_or(broken.clone())?;
        let len = match content {
            Content::Bytes(len) => len,
            Content::Number(_) | Content::Fixed => 0,
        };
        let content_end = self.at.checked_add(len).ok_or(broken.clone())?;
        if content_end > end {
            return Err(broken);
        }
        Ok((tag >> 3, content))
    }

    /// The next number, if it is whole.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, len: usize) -> Option<Content> {
        self.at = self.at.checked_add(len)?;
        Some(Content::Fixed)
    }
}
