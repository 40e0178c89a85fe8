//! GRUB spends a try: four writes in place, no flush between them nor before the kernel, and before
//! them what UEFI firmware repairs. They are no writes of ours, and can't be made safe from here.
//! So it is laid down what may follow when the power fails among them, by name; everything else
//! must come up, and be repaired by us.
//!
//! | the machine | kept in order | reordered by the disk |
//! |---|---|---|
//! | UEFI | comes up | comes up, or no copy is left |
//! | BIOS, `gpt` on the command line | comes up | likewise, or GRUB stops |
//! | BIOS | comes up, or Linux finds no partitions: the primary is torn | likewise |
//!
//! On a disk that was enlarged since the try was given, the backup isn't where Linux and UEFI
//! firmware look: there a torn primary is the end for both, `gpt` or not. With a primary that was
//! damaged before GRUB on BIOS writes over the only copy: there no copy may be left in any order.
//! The engine repairs before it gives a slot a try.

use std::collections::HashSet;

use slots::{Disk, Geometry, Gpt, SectorSize};

use crate::cuts::{Count, SURE};
use crate::device::{Device, Fingerprint};
use crate::loader::{Start, starts};
use crate::loss::{Kind, Loss};
use crate::oracle::{PLATFORMS, Platform};
use crate::readers::power_on::Write;
use crate::readers::{self, Firmware, Outcome, READERS, Reader, Table};

/// So many power-ons in a row are cut.
const DEPTH: usize = 2;

/// Cuts what firmware and GRUB write everywhere, powers on again, and cuts that too.
pub(crate) fn everywhere(sector: usize, points: usize) -> Result<Count, Vec<String>> {
    let mut survey = Survey::default();
    let starts = starts(sector);
    survey.of(&starts, 1);
    let left = points.saturating_sub(survey.count.points);
    survey.of(&starts, left.div_ceil(survey.count.moments.max(1)));
    let named = survey.count.named;
    // Else the models have become kinder than the programs.
    if [named.no_partitions, named.grub_stops, named.no_copy, named.grown].contains(&0) {
        survey
            .flaws
            .push("what GRUB's writes are known to end in doesn't occur".to_owned());
    }
    if survey.flaws.is_empty() {
        Ok(survey.count)
    } else {
        Err(survey.flaws)
    }
}

#[derive(Default)]
struct Survey {
    known: HashSet<(String, Fingerprint)>,
    count: Count,
    flaws: Vec<String>,
}

/// What was there before firmware and GRUB wrote, and after each of their writes.
struct Writing {
    firmware: Firmware,
    /// The disk after none, one, two … of them.
    prefixes: Vec<Vec<u8>>,
    /// Whether GRUB writes over the only copy.
    only_copy: bool,
    /// Whether the disk's end, where Linux and firmware look for the backup, has moved away from
    /// it.
    grown: bool,
}

impl Survey {
    fn of(&mut self, starts: &[Start], mixed: usize) {
        for start in starts {
            for firmware in [Firmware::Bios, Firmware::Uefi] {
                self.cut(start, &start.disk, firmware, mixed, 0);
            }
        }
    }

    /// Powers a machine on, and cuts it after each write.
    fn cut(&mut self, start: &Start, disk: &[u8], firmware: Firmware, mixed: usize, depth: usize) {
        let sector = start.sector;
        let mut device = Device::new(disk.to_vec(), sector);
        let mut writing = Writing {
            firmware,
            prefixes: vec![disk.to_vec()],
            only_copy: firmware == Firmware::Bios && readers::entries(disk, sector, Reader::Linux).is_none(),
            grown: !disk[disk.len() - sector..].starts_with(b"EFI PART"),
        };
        for (call, write) in writes(disk, sector, firmware).into_iter().enumerate() {
            let mut live = writing.prefixes[call].clone();
            readers::put(&mut live, &write);
            writing.prefixes.push(live);
            device.write(call, 0, write.at, write.bytes.clone());
            device.returned(call, write.bytes.len());
            self.count.moments += 1;
            let kinds = SURE.into_iter().chain(std::iter::repeat_n(Kind::Mixed, mixed));
            for (variant, kind) in kinds.enumerate() {
                let seed = (depth << 40 | call << 20 | variant) as u64;
                let survived = device.after(&mut Loss::new(kind, call, seed));
                self.count.points += 1;
                let name = format!("{firmware:?}, {}", start.name);
                if self.known.insert((name, survived.fingerprint)) {
                    let left = device.whole(&survived);
                    self.judge(
                        start,
                        &writing,
                        &left,
                        &format!("{kind:?} after write {call}, seed {seed}"),
                    );
                    if depth + 1 < DEPTH {
                        self.cut(start, &left, firmware, mixed.min(1), depth + 1);
                    }
                }
            }
        }
    }

    fn judge(&mut self, start: &Start, writing: &Writing, left: &[u8], how: &str) {
        self.count.states += 1;
        for platform in PLATFORMS
            .into_iter()
            .filter(|platform| platform.0 == writing.firmware)
        {
            if let Err(flaw) = self.come_up(start, writing, left, platform) {
                let flaw = format!("{platform:?}, {}, {how}: {flaw}", start.name);
                self.flaws.push(flaw);
            }
        }
    }

    /// What the next power-on comes to: as the table above says, or a flaw.
    fn come_up(
        &mut self,
        start: &Start,
        writing: &Writing,
        left: &[u8],
        platform: Platform,
    ) -> Result<(), String> {
        let mut disk = left.to_vec();
        let outcome = readers::power_on(&mut disk, start.sector, platform.0, platform.1);
        let excused = writing.only_copy || !writing.kept_order(left, start.sector);
        let no_copy = readers::entries(left, start.sector, Reader::SlotLoader).is_none();
        let named = &mut self.count.named;
        match outcome {
            Outcome::Boots(_) => repair(disk, start.sector),
            Outcome::NoPartitions | Outcome::NoLoader if writing.grown => {
                named.grown += 1;
                Ok(())
            }
            Outcome::NoPartitions if platform == (Firmware::Bios, Table::Primary) => {
                named.no_partitions += 1;
                torn_primary(left, start.sector)
            }
            _ if excused && no_copy => {
                named.no_copy += 1;
                Ok(())
            }
            Outcome::GrubStops if excused && platform.0 == Firmware::Bios => {
                named.grub_stops += 1;
                torn_primary(left, start.sector)
            }
            // What it could not read before.
            Outcome::NoKernel if writing.prefixes[0] == left => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }
}

impl Writing {
    /// Whether all writes before one reached the medium, and none after it.
    fn kept_order(&self, left: &[u8], sector: usize) -> bool {
        self.prefixes.windows(2).any(|pair| {
            let (old, new) = (pair[0].chunks(sector), pair[1].chunks(sector));
            let mut sectors = left.chunks(sector).zip(old.zip(new));
            sectors.all(|(left, (old, new))| left == old || left == new)
        })
    }
}

fn writes(disk: &[u8], sector: usize, firmware: Firmware) -> Vec<Write> {
    let mut disk = disk.to_vec();
    let mut writes = match firmware {
        Firmware::Bios => Vec::new(),
        Firmware::Uefi => readers::firmware_writes(&disk, sector),
    };
    for write in &writes {
        readers::put(&mut disk, write);
    }
    writes.extend(readers::grub_writes(&disk, sector));
    writes
}

/// Nothing is wrong but that the primary's header and its entries are of two times.
fn torn_primary(disk: &[u8], sector: usize) -> Result<(), String> {
    let is_signed = readers::grub::partitions(disk, sector).is_some();
    match (is_signed, readers::entries(disk, sector, Reader::Linux)) {
        (true, None) => Ok(()),
        _ => Err("the primary is not torn".to_owned()),
    }
}

/// Linux has come up: our next commit finds the table and brings both copies in order, for
/// everybody.
fn repair(disk: Vec<u8>, sector: usize) -> Result<(), String> {
    let mut medium = Image { disk, sector };
    let gpt = Gpt::read(&mut medium).map_err(|error| error.to_string())?;
    let committed = gpt.commit(&mut medium, gpt.table());
    committed.map_err(|error| error.to_string())?;
    for reader in READERS {
        readers::entries(&medium.disk, sector, reader)
            .ok_or(format!("{reader:?} finds no table, repaired"))?;
    }
    Ok(())
}

/// A disk in memory that does what it is told.
struct Image {
    disk: Vec<u8>,
    sector: usize,
}

impl Image {
    fn place(&self, lba: u64, len: usize) -> std::ops::Range<usize> {
        let at = usize::try_from(lba).unwrap() * self.sector;
        at..at + len
    }
}

impl Disk for Image {
    type Error = std::convert::Infallible;

    fn geometry(&self) -> Geometry {
        Geometry {
            sector_size: SectorSize::new(u32::try_from(self.sector).unwrap()).unwrap(),
            sectors: (self.disk.len() / self.sector) as u64,
        }
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), Self::Error> {
        buf.copy_from_slice(&self.disk[self.place(lba, buf.len())]);
        Ok(())
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), Self::Error> {
        let place = self.place(lba, data.len());
        self.disk[place].copy_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
