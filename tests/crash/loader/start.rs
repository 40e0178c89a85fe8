//! Disks to start from, and what has to hold of them ever after.

use super::power_on::Booted;
use crate::image::{ENTRY, disk, place, word, word_of};
use crate::readers::{self, READERS, Reader};

/// Attribute words of A and B.
const SLOTS: [(u64, u64); 4] = [
    (word(1, 0, 1), word(2, 1, 0)),
    (word(1, 0, 1), word(2, 3, 0)),
    (word(2, 0, 1), word(1, 0, 1)),
    (word(1, 0, 1), word(2, 0, 0)),
];

/// A disk to start from, and what its two slots are.
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) disk: Vec<u8>,
    pub(crate) sector: usize,
}

/// Sound disks, every damage to one copy, copies that differ, and a disk that has grown.
pub(crate) fn starts(sector: usize) -> Vec<Start> {
    let mut starts = Vec::new();
    for words in SLOTS {
        let sound = disk(sector, words, b"A", b"B");
        let end = sound.len();
        let array = (128 * ENTRY).div_ceil(sector);
        let damaged = |at: usize| {
            let mut disk = sound.clone();
            disk[at..at + 64].fill(0xa5);
            disk
        };
        let older = disk(sector, (word(1, 0, 1), word(0, 0, 0)), b"A", b"B");
        let differing = [&sound[..end / 2], &older[end / 2..]].concat();
        let grown = [sound.clone(), vec![0; 64 << 10]].concat();
        let disks = [
            ("sound", sound.clone()),
            ("no primary header", damaged(sector)),
            ("no primary entries", damaged(2 * sector + 2 * ENTRY)),
            ("no backup header", damaged(end - sector)),
            ("no backup entries", damaged(end - (1 + array) * sector)),
            ("copies that differ", differing),
            ("a disk that has grown", grown),
        ];
        starts.extend(disks.map(|(name, disk)| Start {
            name: format!("{name}, B {:#x}", words.1 >> 48),
            disk,
            sector,
        }));
    }
    starts
}

impl Start {
    pub(super) fn able(&self) -> impl Iterator<Item = Reader> + '_ {
        let able = |reader: &Reader| readers::entries(&self.disk, self.sector, *reader).is_some();
        READERS.into_iter().filter(able)
    }

    /// No reader loses what it had, and no partition is touched.
    pub(super) fn check(&self, disk: &[u8]) -> Result<(), String> {
        for number in [1, 2, 3, 4, 6, 7, 9] {
            if disk[place(number)] != self.disk[place(number)] {
                return Err(format!("partition {number} has changed"));
            }
        }
        for reader in self.able() {
            let entries = readers::entries(disk, self.sector, reader);
            let entries = entries.ok_or(format!("{reader:?} finds no table"))?;
            readers::chosen(&entries).ok_or(format!("{reader:?} finds no slot"))?;
        }
        Ok(())
    }

    /// The try is spent for these readers, on the medium, before a kernel is looked for.
    pub(super) fn is_spent(
        &self,
        booted: &Booted,
        readers: impl IntoIterator<Item = Reader>,
    ) -> Result<(), String> {
        let before = readers::entries(&self.disk, self.sector, Reader::SlotLoader).unwrap_or_default();
        let before = word_of(&before, booted.slot);
        let expected = before - u64::from(before >> 52 & 15 != 0) * (1 << 52);
        for reader in readers {
            let entries = readers::entries(&booted.first_look, self.sector, reader);
            let entries = entries.ok_or(format!("{reader:?} finds no table when the kernel starts"))?;
            if word_of(&entries, booted.slot) != expected {
                return Err(format!(
                    "{reader:?} doesn't find the try spent when the kernel starts"
                ));
            }
        }
        Ok(())
    }
}
