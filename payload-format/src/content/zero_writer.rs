//! The writer of the blocks of an image that are zero: a part at a time.

use super::ContentError;
use super::tables::BLOCK;
use crate::apply::WriteBlocks;
use crate::block::BlockRange;

/// Bytes of zeros that are written at a time.
const PIECE: u64 = 1 << 20;

/// Writes zeros to ranges of blocks, in the order of the blocks, as much at a time as is asked for.
#[derive(Debug)]
pub(super) struct ZeroWriter {
    /// In order; none is empty.
    ranges: Vec<BlockRange>,
    /// How many of them are written.
    next: usize,
    /// Bytes of the next one that are written.
    at: u64,
    /// Bytes of all of them.
    total: u64,
    written: u64,
    zeros: Vec<u8>,
}

impl ZeroWriter {
    /// Of [`super::ContentTables::zeros`].
    pub(super) fn new(ranges: Vec<BlockRange>) -> Self {
        Self {
            total: ranges.iter().map(|range| range.count() * BLOCK).sum(),
            ranges,
            next: 0,
            at: 0,
            written: 0,
            zeros: Vec::new(),
        }
    }

    /// Writes on until as large a part of all zeros is written as `done` is of `all`.
    ///
    /// # Errors
    /// The image can't be written.
    pub(super) fn write_part(
        &mut self,
        target: &dyn WriteBlocks,
        (done, all): (usize, usize),
    ) -> Result<(), ContentError> {
        let part = u128::from(self.total) * done as u128 / (all as u128).max(1);
        while u128::from(self.written) < part && self.write_piece(target)? {}
        Ok(())
    }

    /// Writes all that is left.
    ///
    /// # Errors
    /// The image can't be written.
    pub(super) fn finish(mut self, target: &dyn WriteBlocks) -> Result<(), ContentError> {
        while self.write_piece(target)? {}
        Ok(())
    }

    /// Whether there was anything left.
    fn write_piece(&mut self, target: &dyn WriteBlocks) -> Result<bool, ContentError> {
        let Some(range) = self.ranges.get(self.next) else {
            return Ok(false);
        };
        let len = (range.count() * BLOCK - self.at).min(PIECE);
        let offset = range.start() * BLOCK + self.at;
        // Invariant: at most `PIECE`.
        self.zeros.resize(usize::try_from(PIECE).unwrap_or(0), 0);
        let zeros = &self.zeros[..usize::try_from(len).unwrap_or(0)];
        let written = target.write_at(zeros, offset);
        written.map_err(|source| ContentError::Write { offset, source })?;
        self.at += len;
        self.written += len;
        if self.at == range.count() * BLOCK {
            (self.next, self.at) = (self.next + 1, 0);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;
    use crate::apply::ReadBlocks;

    #[derive(Default)]
    struct NotedZeros(Mutex<Vec<(u64, usize)>>);

    impl ReadBlocks for NotedZeros {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    impl WriteBlocks for NotedZeros {
        fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
            assert!(buf.iter().all(|byte| *byte == 0));
            self.0.lock().unwrap().push((offset, buf.len()));
            Ok(())
        }
    }

    #[test]
    fn each_block_is_written_once_as_the_parts_grow() {
        let ranges = [(0, 1), (5, 700), (701, 702), (1000, 2000)];
        let ranges = ranges.map(|(start, end)| BlockRange::new(start, end).unwrap());
        let target = NotedZeros::default();
        let mut zeros = ZeroWriter::new(ranges.to_vec());
        let mut written = 0;
        for done in [0, 1, 1, 50, 99, 100] {
            zeros.write_part(&target, (done, 100)).unwrap();
            let part = zeros.total * done as u64 / 100;
            assert!(
                (part..part + PIECE).contains(&zeros.written),
                "{done}: {}",
                zeros.written
            );
            assert!(zeros.written >= written);
            written = zeros.written;
        }
        assert_eq!(written, (1 + 695 + 1 + 1000) * BLOCK);
        zeros.finish(&target).unwrap();
        let blocks = target
            .0
            .lock()
            .unwrap()
            .clone()
            .into_iter()
            .flat_map(|(offset, len)| {
                assert!(len as u64 <= PIECE);
                offset / BLOCK..(offset + len as u64) / BLOCK
            });
        let wanted = ranges.iter().flat_map(|range| range.start()..range.end());
        assert!(blocks.eq(wanted));
    }

    #[test]
    fn without_segments_all_is_left_for_the_end() {
        let target = NotedZeros::default();
        let zeros = ZeroWriter::new(vec![BlockRange::new(3, 9).unwrap()]);
        zeros.finish(&target).unwrap();
        assert_eq!(*target.0.lock().unwrap(), [(3 * BLOCK, 6 * 4096)]);
    }
}
