//! Counts what decoding would allocate, without allocating. Two bytes of an empty operation become some 200
//! in memory, so a length limit alone doesn't bound it.

use super::ManifestError;
use crate::limits::Limits;

/// Message types that hold what is counted.
#[derive(Clone, Copy)]
enum Message {
    Manifest,
    Procedure,
    Partition,
    Operation,
}

/// What a length-delimited field of a message is.
enum Content {
    /// A message to look into.
    Message(Message),
    Extent,
    Other,
}

impl Message {
    fn content(self, field: u64) -> Content {
        match (self, field) {
            (Self::Manifest, 1 | 2) | (Self::Procedure, 2) | (Self::Partition, 8) => {
                Content::Message(Self::Operation)
            }
            (Self::Manifest, 10) => Content::Message(Self::Procedure),
            (Self::Manifest, 13) => Content::Message(Self::Partition),
            (Self::Operation, 4 | 6) => Content::Extent,
            _ => Content::Other,
        }
    }
}

/// Refuses more operations, procedures and partitions (counted as operations) or extents than allowed.
pub(super) fn check_counts(bytes: &[u8], limits: &Limits) -> Result<(), ManifestError> {
    let mut counter = Counter {
        limits,
        operations: 0,
        extents: 0,
    };
    let mut cursor = Cursor { bytes, at: 0 };
    counter.message(&mut cursor, bytes.len(), Message::Manifest)
}

struct Counter<'a> {
    limits: &'a Limits,
    operations: usize,
    extents: usize,
}

impl Counter<'_> {
    /// Recursion is as deep as the types above nest: three.
    fn message(
        &mut self,
        cursor: &mut Cursor<'_>,
        end: usize,
        message: Message,
    ) -> Result<(), ManifestError> {
        while cursor.at < end {
            let Some((field, len)) = cursor.field(end)? else {
                continue;
            };
            let inner = cursor.at + len;
            match message.content(field) {
                Content::Message(kind) => {
                    self.operation()?;
                    self.message(cursor, inner, kind)?;
                }
                Content::Extent => self.extent()?,
                Content::Other => {}
            }
            cursor.at = inner;
        }
        Ok(())
    }

    fn operation(&mut self) -> Result<(), ManifestError> {
        self.operations += 1;
        let limit = self.limits.operations;
        (self.operations <= limit)
            .then_some(())
            .ok_or(ManifestError::TooManyOperations(limit))
    }

    fn extent(&mut self) -> Result<(), ManifestError> {
        self.extents += 1;
        let limit = self.limits.extents;
        (self.extents <= limit)
            .then_some(())
            .ok_or(ManifestError::TooManyExtents(limit))
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    /// The next field that ends by `end`: number and length if length-delimited (its content is next), `None`
    /// if it was of another type and is passed.
    fn field(&mut self, end: usize) -> Result<Option<(u64, usize)>, ManifestError> {
        let start = self.at;
        let broken = ManifestError::Broken(start);
        let tag = self.varint().ok_or(broken.clone())?;
        let len = match tag & 7 {
            0 => self.varint().map(|_| None),
            1 => self.skip(8).map(|()| None),
            2 => self.varint().and_then(|len| usize::try_from(len).ok()).map(Some),
            5 => self.skip(4).map(|()| None),
            _ => None,
        };
        let len = len.ok_or(broken.clone())?;
        let content_end = self.at.checked_add(len.unwrap_or(0)).ok_or(broken.clone())?;
        if content_end > end {
            return Err(broken);
        }
        Ok(len.map(|len| (tag >> 3, len)))
    }

    fn varint(&mut self) -> Option<u64> {
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

    fn skip(&mut self, len: usize) -> Option<()> {
        self.at = self.at.checked_add(len)?;
        Some(())
    }
}
