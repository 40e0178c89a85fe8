//! The payload's data, read from wherever it lies in the spool.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// Pieces of a spool as one stream.
pub(super) struct Data<'a, S> {
    spool: &'a mut S,
    pieces: std::slice::Iter<'a, Range<u64>>,
    /// Bytes of the piece at hand that were not read yet.
    left: u64,
}

impl<'a, S: Read + Seek> Data<'a, S> {
    pub(super) fn new(spool: &'a mut S, pieces: &'a [Range<u64>]) -> Self {
        Self {
            spool,
            pieces: pieces.iter(),
            left: 0,
        }
    }
}

impl<S: Read + Seek> Read for Data<'_, S> {
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
