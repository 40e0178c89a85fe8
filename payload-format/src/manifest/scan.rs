//! The scan of a manifest, which takes it apart without decoding its operations: they are counted
//! now, and decoded one by one later.
//!
//! Two bytes of an empty operation become some 200 in memory, so a length limit alone doesn't bound
//! what decoding allocates; and of what is within the limits no more than one operation is there in
//! both forms.

use super::ManifestError;
use super::cursor::{Content as Wire, Cursor};
use crate::content::{ContentTables, Predecessor, TablesError};
use crate::limits::Limits;

/// Message types that hold operations.
#[derive(Clone, Copy)]
enum MessageKind {
    Manifest,
    Procedure,
    Partition,
}

/// What a length-delimited field of a message is.
enum FieldKind {
    Operation(Whose),
    /// A message to look into.
    Image(MessageKind),
    /// Content tables, whose messages are counted and stay.
    Tables,
    Other,
}

/// Who follows an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    /// Clients older than procedures.
    OlderClients,
}

impl MessageKind {
    fn kind_of(self, field: u64) -> FieldKind {
        match (self, field) {
            (Self::Manifest, 1) | (Self::Procedure, 2) | (Self::Partition, 8) => {
                FieldKind::Operation(Whose::Ours)
            }
            (Self::Manifest, 2) => FieldKind::Operation(Whose::OlderClients),
            (Self::Manifest, 10) => FieldKind::Image(Self::Procedure),
            (Self::Manifest, 13) => FieldKind::Image(Self::Partition),
            (Self::Partition, 50_001) => FieldKind::Tables,
            _ => FieldKind::Other,
        }
    }
}

/// Procedures and partitions of a manifest, at most: some 200 bytes each become four times as many. Phones have some 60.
const MAX_IMAGES: usize = 1024;

/// Messages of content tables, with their limits: over all tables of a manifest, since repeated ones are
/// read as one.
const TABLE_MESSAGES: [(u64, &str, usize); 2] = [
    (5, "encoders", ContentTables::MAX_ENCODERS),
    (14, "predecessors", Predecessor::MAX),
];

/// Fields of an operation: source and destination.
const EXTENTS: [u64; 2] = [4, 6];

/// A manifest with its operations beside it.
#[derive(Debug)]
pub(super) struct Sifted<'a> {
    /// All but the operations, encoded.
    pub(super) rest: Vec<u8>,
    /// Operations of the manifest itself: those of the partition in major version 1.
    pub(super) partition: Vec<&'a [u8]>,
    /// Those of each procedure, in order.
    pub(super) procedures: Vec<Vec<&'a [u8]>>,
    /// Those of each partition of major version 2, in order.
    pub(super) partitions: Vec<Vec<&'a [u8]>>,
}

/// Sets the operations apart. Those of older clients are dropped, as nobody here follows them.
///
/// # Errors
/// If there are more operations, procedures and partitions (counted as operations) or extents than
/// allowed, or lengths that contradict each other.
pub(super) fn sift<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Sifted<'a>, ManifestError> {
    let mut sieve = Sieve {
        limits,
        cursor: Cursor { bytes, at: 0 },
        operations: 0,
        extents: 0,
        images: 0,
        table_messages: [0; TABLE_MESSAGES.len()],
        procedures: Vec::new(),
        partitions: Vec::new(),
    };
    let mut partition = Vec::new();
    let rest = sieve.message(bytes.len(), MessageKind::Manifest, &mut partition)?;
    Ok(Sifted {
        rest,
        partition,
        procedures: sieve.procedures,
        partitions: sieve.partitions,
    })
}

struct Sieve<'a, 'l> {
    limits: &'l Limits,
    cursor: Cursor<'a>,
    operations: usize,
    extents: usize,
    images: usize,
    /// How many of each of [`TABLE_MESSAGES`].
    table_messages: [usize; TABLE_MESSAGES.len()],
    procedures: Vec<Vec<&'a [u8]>>,
    partitions: Vec<Vec<&'a [u8]>>,
}

impl<'a> Sieve<'a, '_> {
    /// What of the message up to `end` is not `operations`. Recursion is as deep as the types above
    /// nest: two.
    fn message(
        &mut self,
        end: usize,
        message: MessageKind,
        operations: &mut Vec<&'a [u8]>,
    ) -> Result<Vec<u8>, ManifestError> {
        let (bytes, mut rest) = (self.cursor.bytes, Vec::new());
        while self.cursor.at < end {
            let start = self.cursor.at;
            let (field, Wire::Bytes(len)) = self.cursor.field(end)? else {
                rest.extend_from_slice(&bytes[start..self.cursor.at]);
                continue;
            };
            let content = self.cursor.at..self.cursor.at + len;
            match message.kind_of(field) {
                FieldKind::Operation(whose) => {
                    self.operation(content.end)?;
                    if whose == Whose::Ours {
                        operations.push(&bytes[content.clone()]);
                    }
                }
                FieldKind::Image(kind) => {
                    self.count()?;
                    self.image()?;
                    let mut own = Vec::new();
                    put_message(&mut rest, field, &self.message(content.end, kind, &mut own)?);
                    match kind {
                        MessageKind::Partition => self.partitions.push(own),
                        MessageKind::Manifest | MessageKind::Procedure => self.procedures.push(own),
                    }
                }
                FieldKind::Tables => {
                    self.tables(content.end)?;
                    rest.extend_from_slice(&bytes[start..content.end]);
                }
                FieldKind::Other => rest.extend_from_slice(&bytes[start..content.end]),
            }
            self.cursor.at = content.end;
        }
        Ok(rest)
    }

    fn operation(&mut self, end: usize) -> Result<(), ManifestError> {
        self.count()?;
        while self.cursor.at < end {
            if let (field, Wire::Bytes(len)) = self.cursor.field(end)? {
                if EXTENTS.contains(&field) {
                    self.extent()?;
                }
                self.cursor.at += len;
            }
        }
        Ok(())
    }

    fn tables(&mut self, end: usize) -> Result<(), ManifestError> {
        while self.cursor.at < end {
            if let (field, Wire::Bytes(len)) = self.cursor.field(end)? {
                let messages = TABLE_MESSAGES.iter().zip(&mut self.table_messages);
                for (&(_, field, limit), found) in messages.filter(|(kind, _)| kind.0 == field) {
                    *found += 1;
                    if *found > limit {
                        return Err(ManifestError::Content(TablesError::TooMany { field, limit }));
                    }
                }
                self.cursor.at += len;
            }
        }
        Ok(())
    }

    fn image(&mut self) -> Result<(), ManifestError> {
        self.images += 1;
        (self.images <= MAX_IMAGES)
            .then_some(())
            .ok_or(ManifestError::TooManyImages(MAX_IMAGES))
    }

    fn count(&mut self) -> Result<(), ManifestError> {
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

/// Encodes an embedded message.
fn put_message(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    for mut value in [field << 3 | 2, content.len() as u64] {
        while value >= 0x80 {
            out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        out.push(value.to_le_bytes()[0]);
    }
    out.extend_from_slice(content);
}
