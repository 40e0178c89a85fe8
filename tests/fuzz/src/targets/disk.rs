//! Disks in memory with a partition table that the fuzzer draws.

use slots::{Disk, Geometry, Guid, SectorSize};

use crate::Bug;
use crate::input::Input;

/// Bytes of a sector.
pub(crate) const SECTOR: usize = 512;
/// Sectors of a disk.
const SECTORS: usize = 64;
/// Entries of a table, of 128 bytes.
const ENTRIES: usize = 8;
const ENTRY: usize = 128;
/// Sectors of the entries.
const ARRAY: usize = ENTRIES * ENTRY / SECTOR;
const LAST: usize = SECTORS - 1;

/// What reaches a disk.
#[derive(Debug, Clone)]
enum Op {
    Write(usize, Vec<u8>),
    Flush,
}

/// The medium fails.
#[derive(Debug, thiserror::Error)]
#[error("the medium fails")]
pub(crate) struct Failure;

/// A disk with a cache that loses what wasn't flushed.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    pub(crate) live: Vec<u8>,
    pub(crate) durable: Vec<u8>,
    log: Vec<Op>,
    /// Writes and flushes that succeed before all fail.
    pub(crate) budget: usize,
}

impl Recorder {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self {
            durable: bytes.clone(),
            live: bytes,
            log: Vec::new(),
            budget: usize::MAX,
        }
    }

    /// A disk with any table, often a sound one; the same bytes twice if nothing is said of both
    /// copies.
    pub(crate) fn any(input: &mut Input<'_>) -> Self {
        let mut bytes: Vec<u8> = (0..SECTORS * SECTOR)
            .map(|at| (at % 251).to_le_bytes()[0])
            .collect();
        let has_gap = input.is_odd();
        let mut entries = entries(input, if has_gap { 10 } else { 2 + ARRAY });
        if has_gap {
            bytes[(2 + ARRAY) * SECTOR..10 * SECTOR].fill(0);
        }
        let backup = LAST - usize::from(input.byte() > 230) * 4;
        for (own, other, at) in [(backup, 1, backup - ARRAY), (1, backup, 2)] {
            if input.byte() > 200 {
                let at = input.below(entries.len());
                entries[at] = input.byte();
            }
            let mut header = header(own, other, at, backup, &entries);
            if input.byte() > 200 {
                change(&mut header, input);
            }
            bytes[own * SECTOR..][..SECTOR].copy_from_slice(&header);
            bytes[at * SECTOR..][..entries.len()].copy_from_slice(&entries);
        }
        for _ in 0..input.byte() / 100 {
            let sector = *input.one_of(&[0, 1, 2, 3, 4, 5, LAST - 3, LAST - 2, LAST - 1, LAST]);
            bytes[sector * SECTOR + input.below(SECTOR)] ^= 1 << (input.byte() % 8);
        }
        Self::new(bytes)
    }

    /// What a power cut leaves: all that was flushed before operation `cut`, and of what was
    /// written since those sectors whose bit is set in `kept`. The planted bug: one flush is none.
    pub(crate) fn after_cut(&self, before: &[u8], cut: usize, kept: u64, bug: Bug) -> Vec<u8> {
        let mut disk = before.to_vec();
        let mut pending: Vec<(usize, &[u8])> = Vec::new();
        let mut flushes = 0;
        for op in self.log.iter().take(cut) {
            match op {
                Op::Write(at, data) => {
                    let sectors = data.chunks(SECTOR).enumerate();
                    pending.extend(sectors.map(|(index, data)| (at + index * SECTOR, data)));
                }
                Op::Flush => {
                    flushes += 1;
                    if bug.strikes(flushes > 1) {
                        continue;
                    }
                    for (at, data) in pending.drain(..) {
                        disk[at..at + data.len()].copy_from_slice(data);
                    }
                }
            }
        }
        for (index, (at, data)) in pending.into_iter().enumerate() {
            if kept >> (index % 64) & 1 == 1 {
                disk[at..at + data.len()].copy_from_slice(data);
            }
        }
        disk
    }

    /// Writes and flushes so far.
    pub(crate) fn operations(&self) -> usize {
        self.log.len()
    }
}

/// Two slots, another partition, and what the fuzzer makes of them.
fn entries(input: &mut Input<'_>, first: usize) -> Vec<u8> {
    let mut entries = vec![0; ENTRIES * ENTRY];
    let kind = Guid::FLATCAR_USR.to_bytes();
    for (number, label) in [(3_u8, "USR-A"), (4, "USR-B"), (6, "OEM")] {
        let kind = if number == 6 { [0x11; 16] } else { kind };
        let start = (first + usize::from(number) * 4 - 12) as u64;
        let attributes = u64::from(input.short() & 0x1ff) << 48;
        let mut entry = kind.to_vec();
        entry.extend([number; 16]);
        for value in [start, start + 3, attributes] {
            entry.extend(value.to_le_bytes());
        }
        entry.extend(label.encode_utf16().flat_map(u16::to_le_bytes));
        entries[(usize::from(number) - 1) * ENTRY..][..entry.len()].copy_from_slice(&entry);
    }
    if input.byte() > 180 {
        // A slot once more, under another number or for itself.
        let (from, to) = (2 + input.below(2), *input.one_of(&[0, 1, 4, 6]));
        entries.copy_within(from * ENTRY..(from + 1) * ENTRY, to * ENTRY);
        entries[to * ENTRY + 54] = input.byte();
    }
    entries
}

fn header(own: usize, other: usize, at: usize, backup: usize, entries: &[u8]) -> Vec<u8> {
    let mut bytes = b"EFI PART\0\0\x01\0".to_vec();
    bytes.extend(92_u32.to_le_bytes());
    bytes.extend([0; 8]);
    for value in [own, other, 2 + ARRAY, backup - ARRAY - 1] {
        bytes.extend((value as u64).to_le_bytes());
    }
    bytes.extend([0xd1; 16]);
    bytes.extend((at as u64).to_le_bytes());
    bytes.extend(8_u32.to_le_bytes());
    bytes.extend(128_u32.to_le_bytes());
    bytes.extend(crc32(entries).to_le_bytes());
    sealed(bytes, 92)
}

/// Another value in one of the header's fields, under a right checksum.
fn change(header: &mut Vec<u8>, input: &mut Input<'_>) {
    let field = *input.one_of(&[8, 12, 24, 32, 40, 48, 72, 80, 84, 88]);
    let value = match input.byte() % 4 {
        0 => u64::from(input.byte()),
        1 => !u64::from(input.byte()),
        2 => input.long(),
        _ => 1 << (input.byte() % 64),
    };
    let len = if matches!(field, 24 | 32 | 40 | 48 | 72) {
        8
    } else {
        4
    };
    header[field..field + len].copy_from_slice(&value.to_le_bytes()[..len]);
    header[16..20].fill(0);
    let len = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    let len = usize::try_from(len).unwrap_or(SECTOR).min(SECTOR);
    *header = sealed(std::mem::take(header), len);
}

fn sealed(mut header: Vec<u8>, len: usize) -> Vec<u8> {
    header.resize(SECTOR, 0);
    let checksum = crc32(&header[..len]);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// CRC-32, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

fn place(lba: u64, len: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(lba).ok()?.checked_mul(SECTOR)?;
    Some(start..start.checked_add(len)?)
}

impl Disk for Recorder {
    type Error = Failure;

    fn geometry(&self) -> Geometry {
        Geometry {
            sector_size: SectorSize::B512,
            sectors: (self.live.len() / SECTOR) as u64,
        }
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), Failure> {
        let found = place(lba, buf.len()).and_then(|place| self.live.get(place));
        buf.copy_from_slice(found.ok_or(Failure)?);
        Ok(())
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), Failure> {
        assert!(data.len().is_multiple_of(SECTOR), "{} bytes", data.len());
        self.budget = self.budget.checked_sub(1).ok_or(Failure)?;
        let place = place(lba, data.len()).ok_or(Failure)?;
        let start = place.start;
        self.live.get_mut(place).ok_or(Failure)?.copy_from_slice(data);
        self.log.push(Op::Write(start, data.to_vec()));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.budget = self.budget.checked_sub(1).ok_or(Failure)?;
        self.durable.clone_from(&self.live);
        self.log.push(Op::Flush);
        Ok(())
    }
}
