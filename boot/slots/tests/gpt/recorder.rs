//! A disk in memory that records what reaches it, and can be cut or made to fail anywhere.

use slots::{Disk, Geometry, SectorSize};

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Write { lba: u64, data: Vec<u8> },
    Flush,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("injected fault")]
pub(crate) struct Fault;

/// Keeps live bytes and the log of writes and flushes since it was made.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    pub(crate) live: Vec<u8>,
    pub(crate) log: Vec<Op>,
    /// Index of the operation that fails, and every one after it.
    pub(crate) fails_from: Option<usize>,
    sector: usize,
}

impl Recorder {
    pub(crate) fn new(live: Vec<u8>, sector: usize) -> Self {
        Self {
            live,
            log: Vec::new(),
            fails_from: None,
            sector,
        }
    }

    pub(crate) fn failing(live: Vec<u8>, sector: usize, from: usize) -> Self {
        Self {
            fails_from: Some(from),
            ..Self::new(live, sector)
        }
    }

    fn record(&mut self, op: Op) -> Result<(), Fault> {
        if self.fails_from.is_some_and(|from| self.log.len() >= from) {
            return Err(Fault);
        }
        self.log.push(op);
        Ok(())
    }
}

impl Disk for Recorder {
    type Error = Fault;

    fn geometry(&self) -> Geometry {
        Geometry {
            sector_size: SectorSize::new(u32::try_from(self.sector).unwrap()).unwrap(),
            sectors: u64::try_from(self.live.len() / self.sector).unwrap(),
        }
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let offset = usize::try_from(lba)
            .unwrap()
            .checked_mul(self.sector)
            .ok_or(Fault)?;
        let end = offset.checked_add(buf.len()).ok_or(Fault)?;
        buf.copy_from_slice(self.live.get(offset..end).ok_or(Fault)?);
        Ok(())
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), Fault> {
        self.record(Op::Write {
            lba,
            data: data.to_vec(),
        })?;
        let offset = usize::try_from(lba).unwrap() * self.sector;
        self.live[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.record(Op::Flush)
    }
}

/// Every disk that a cut may leave: after each operation of `log`, what was flushed is there; of
/// the sectors written since, any subset. Sectors are written whole or not at all.
pub(crate) fn cuts(start: &[u8], log: &[Op], sector: usize) -> Vec<Vec<u8>> {
    let mut disks = Vec::new();
    let mut durable = start.to_vec();
    let mut pending: Vec<(usize, Vec<u8>)> = Vec::new();
    for op in log {
        match op {
            Op::Write { lba, data } => {
                let offset = usize::try_from(*lba).unwrap() * sector;
                let sectors = data
                    .chunks(sector)
                    .enumerate()
                    .map(|(i, bytes)| (offset + i * sector, bytes.to_vec()));
                pending.extend(
                    sectors.filter(|(offset, bytes)| durable[*offset..*offset + sector] != bytes[..]),
                );
            }
            Op::Flush => apply(&mut durable, pending.drain(..)),
        }
        for chosen in subsets(pending.len()) {
            let mut disk = durable.clone();
            apply(
                &mut disk,
                pending
                    .iter()
                    .zip(chosen)
                    .filter(|(_, chosen)| *chosen)
                    .map(|(write, _)| write.clone()),
            );
            disks.push(disk);
        }
    }
    disks.sort();
    disks.dedup();
    disks
}

fn apply(disk: &mut [u8], writes: impl IntoIterator<Item = (usize, Vec<u8>)>) {
    for (offset, bytes) in writes {
        disk[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }
}

/// All subsets of a few; of many, each prefix and suffix, each one alone and each one missing.
fn subsets(len: usize) -> Vec<Vec<bool>> {
    if len <= 6 {
        return (0..1usize << len)
            .map(|mask| (0..len).map(|bit| mask >> bit & 1 == 1).collect())
            .collect();
    }
    let shapes: [fn(usize, usize) -> bool; 4] = [|i, k| i < k, |i, k| i >= k, |i, k| i == k, |i, k| i != k];
    let shape =
        |shape: fn(usize, usize) -> bool| (0..=len).map(move |k| (0..len).map(|i| shape(i, k)).collect());
    shapes.into_iter().flat_map(shape).collect()
}
