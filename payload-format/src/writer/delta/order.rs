//! Operations and data as they come, put in order.

use std::io::Write;
use std::ops::Range;

use super::encoder::Encoded;
use super::survey::Survey;
use crate::digest::Sha256Digest;
use crate::wire::InstallOperation;
use crate::writer::WriteError;
use crate::writer::press::Section;

/// The spool, and what lies where in it.
pub(super) struct Order<'a> {
    spool: &'a mut dyn Write,
    len: u64,
    /// Of the image at work: first block, operation, data.
    items: Vec<(u64, InstallOperation, Range<u64>)>,
    /// All data of the images that are done, in the order of their operations.
    pieces: Vec<Range<u64>>,
    /// Bytes of these.
    data_len: u64,
}

impl<'a> Order<'a> {
    pub(super) fn new(spool: &'a mut dyn Write) -> Self {
        Self {
            spool,
            len: 0,
            items: Vec::new(),
            pieces: Vec::new(),
            data_len: 0,
        }
    }

    /// Where the data of all images lies in the spool, in the order of their operations.
    pub(super) fn into_pieces(self) -> Vec<Range<u64>> {
        self.pieces
    }

    /// Takes an operation of the image at work.
    pub(super) fn put(&mut self, encoded: Encoded) -> Result<(), WriteError> {
        self.spool.write_all(&encoded.data).map_err(WriteError::Spool)?;
        let start = self.len;
        self.len += encoded.data.len() as u64;
        self.items
            .push((encoded.first, encoded.operation, start..self.len));
        Ok(())
    }

    /// Orders what was put in by the blocks that it writes, and goes on to the next image.
    pub(super) fn section(&mut self, old: Option<&Survey>, new: &Survey) -> Section {
        let mut items = std::mem::take(&mut self.items);
        // No two operations write the same block.
        items.sort_unstable_by_key(|(first, _, _)| *first);
        let data_offset = self.data_len;
        let mut operations = Vec::with_capacity(items.len());
        for (_, mut operation, piece) in items {
            if !piece.is_empty() {
                operation.data_offset = Some(self.data_len);
                self.data_len += piece.end - piece.start;
                self.pieces.push(piece);
            }
            operations.push(operation);
        }
        Section {
            operations,
            old: old.map(Survey::info),
            size: new.len,
            sha256: new.sha256,
            data_offset,
            data_len: self.data_len - data_offset,
            data_sha256: Sha256Digest::of(&[]),
        }
    }
}
