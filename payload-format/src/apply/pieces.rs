//! Runs of blocks as one row of bytes: what an operation reads, or what it writes in any order.

use std::sync::Arc;

use super::{BUFFER, Fault, ReadBlocks, WriteBlocks};
use crate::block::{BlockRange, BlockSize};
use crate::digest::{RunningHash, Sha256Digest};
use crate::operation::Run;

/// Where the pieces of sources lie.
#[derive(Clone)]
pub(super) struct Origins {
    pub(super) old: Option<Arc<dyn ReadBlocks>>,
    /// Length of the old image in bytes; what its last block holds beyond reads as zeros.
    pub(super) old_len: u64,
    pub(super) target: Arc<dyn WriteBlocks>,
    pub(super) block_size: BlockSize,
    pub(super) hashes: SourceHashes,
}

/// Whether sources have to be the right ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceHashes {
    Checked,
    /// There is no old image, and zeros stand for it.
    Ignored,
}

/// Bytes that lie in several places, one after the other.
pub(super) struct Pieces {
    origins: Origins,
    /// Each piece with its first position, ascending.
    runs: Vec<(u64, Run)>,
    len: u64,
}

impl Pieces {
    pub(super) fn new(origins: &Origins, runs: &[Run]) -> Self {
        let mut len: u64 = 0;
        let place = |run: &Run| {
            let start = len;
            // The manifest's check held the sum of blocks to the room there is, so bytes can't
            // overflow.
            len += run.count() * origins.block_size.bytes();
            (start, *run)
        };
        let runs = runs.iter().map(place).collect();
        Self {
            origins: origins.clone(),
            runs,
            len,
        }
    }

    /// In bytes.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Reads all of it, and holds it against the hash that it must have, if that is known.
    pub(super) fn check(&self, expected: Option<Sha256Digest>) -> Result<(), Fault> {
        let Some(expected) = self.known(expected) else {
            return Ok(());
        };
        let mut hash = RunningHash::default();
        self.each(|bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        same(hash.value(), expected)
    }

    /// Holds `whole`, all of its bytes, against the hash that they must have, likewise.
    pub(super) fn expect(&self, whole: &[u8], expected: Option<Sha256Digest>) -> Result<(), Fault> {
        self.known(expected)
            .map_or(Ok(()), |expected| same(Sha256Digest::of(whole), expected))
    }

    fn known(&self, expected: Option<Sha256Digest>) -> Option<Sha256Digest> {
        expected.filter(|_| self.origins.hashes == SourceHashes::Checked)
    }

    /// All of it, unless it is longer than `limit` bytes.
    pub(super) fn whole(&self, limit: usize) -> Result<Option<Vec<u8>>, Fault> {
        let Some(len) = usize::try_from(self.len).ok().filter(|len| *len <= limit) else {
            return Ok(None);
        };
        let mut whole = vec![0; len];
        self.read_at(&mut whole, 0)?;
        Ok(Some(whole))
    }

    /// Hands out all of it, in order.
    pub(super) fn each(&self, mut take: impl FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut buffer = vec![0; clamp(self.len, BUFFER)];
        let mut at = 0;
        while at < self.len {
            let now = clamp(self.len - at, buffer.len());
            self.read_at(&mut buffer[..now], at)?;
            take(&buffer[..now])?;
            at += now as u64;
        }
        Ok(())
    }

    /// Fills `buf` from `offset`; what lies past the end reads as zeros.
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), Fault> {
        let mut rest = buf;
        let mut at = offset;
        while !rest.is_empty() {
            let Some((run, within)) = self.find(at) else {
                rest.fill(0);
                return Ok(());
            };
            let left = run.count() * self.origins.block_size.bytes() - within;
            let (now, later) = rest.split_at_mut(clamp(left, rest.len()));
            self.origins.read_run(run, within, now)?;
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Writes to blocks of the target, from `offset` on. What falls anywhere else, or past the end,
    /// is dropped, as a sink does with holes.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        let mut rest = bytes;
        let mut at = offset;
        while let Some((run, within)) = self.find(at).filter(|_| !rest.is_empty()) {
            let left = run.count() * self.origins.block_size.bytes() - within;
            let (now, later) = rest.split_at(clamp(left, rest.len()));
            self.origins.write_run(run, within, now)?;
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// The piece that holds a position, and how far into it.
    fn find(&self, at: u64) -> Option<(Run, u64)> {
        if at >= self.len {
            return None;
        }
        let after = self.runs.partition_point(|(start, _)| *start <= at);
        let (start, run) = self.runs.get(after.checked_sub(1)?)?;
        Some((*run, at - start))
    }
}

impl Origins {
    fn read_run(&self, run: Run, within: u64, buf: &mut [u8]) -> Result<(), Fault> {
        match run {
            Run::Zeros(_) => {
                buf.fill(0);
                Ok(())
            }
            Run::Old(range) => self.read_old(self.offset(range, within), buf),
            Run::Target(range) => {
                let offset = self.offset(range, within);
                self.target
                    .read_at(buf, offset)
                    .map_err(|source| Fault::ReadTarget { offset, source })
            }
        }
    }

    fn write_run(&self, run: Run, within: u64, bytes: &[u8]) -> Result<(), Fault> {
        let Run::Target(range) = run else {
            return Ok(());
        };
        let offset = self.offset(range, within);
        let written = self.target.write_at(bytes, offset);
        written.map_err(|source| Fault::Write { offset, source })
    }

    fn read_old(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let inside = clamp(self.old_len.saturating_sub(offset), buf.len());
        let (inside, beyond) = buf.split_at_mut(inside);
        beyond.fill(0);
        match &self.old {
            Some(old) if !inside.is_empty() => old
                .read_at(inside, offset)
                .map_err(|source| Fault::ReadOld { offset, source }),
            _ => {
                inside.fill(0);
                Ok(())
            }
        }
    }

    fn offset(&self, range: BlockRange, within: u64) -> u64 {
        range.start() * self.block_size.bytes() + within
    }
}

fn same(found: Sha256Digest, expected: Sha256Digest) -> Result<(), Fault> {
    (found == expected)
        .then_some(())
        .ok_or(Fault::SourceHash { found, expected })
}

/// The smaller of both.
pub(super) fn clamp(bytes: u64, len: usize) -> usize {
    usize::try_from(bytes).map_or(len, |bytes| bytes.min(len))
}
