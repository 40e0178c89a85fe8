//! The spool of a delta: operations' data in the order in which they are made, read back in the
//! order of the payload.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use super::block_hashes::BlockHashes;
use super::encoder::Encoded;
use crate::wire::InstallOperation;
use crate::writer::WriteError;
use crate::writer::section::Section;

/// A spool's end for writing: operations of one image after the other, and where the data of each
/// lies.
pub(super) struct OperationSpool<'a> {
    spool: &'a mut dyn Write,
    /// Bytes written.
    len: u64,
    /// Of the image at work: first block, operation, data.
    items: Vec<(u64, InstallOperation, Range<u64>)>,
    /// All data of the images that are done, in the order of their operations.
    pieces: Vec<Range<u64>>,
    /// Bytes of these.
    data_len: u64,
}

impl<'a> OperationSpool<'a> {
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
    pub(super) fn section(&mut self, old: Option<&BlockHashes>, new: &BlockHashes) -> Section {
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
            old: old.map(BlockHashes::info),
            data_offset,
            data_len: self.data_len - data_offset,
            ..Section::without_data(new.len, new.sha256)
        }
    }
}

/// A spool's end for reading: its pieces as one stream, in the order of operations.
pub(super) struct SpoolReader<'a, S> {
    spool: &'a mut S,
    pieces: std::slice::Iter<'a, Range<u64>>,
    /// Bytes of the piece at hand that were not read yet.
    left: u64,
}

impl<'a, S: Read + Seek> SpoolReader<'a, S> {
    pub(super) fn new(spool: &'a mut S, pieces: &'a [Range<u64>]) -> Self {
        Self {
            spool,
            pieces: pieces.iter(),
            left: 0,
        }
    }
}

impl<S: Read + Seek> Read for SpoolReader<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let Some(piece) = self.pieces.next() else {
                return Ok(0);
            };
            self.spool.seek(SeekFrom::Start(piece.start))?;
            self.left = piece.end - piece.start;
        }
        let n = self.spool.by_ref().take(self.left).read(buf)?;
        self.left -= n as u64;
        if n == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(n)
    }
}
