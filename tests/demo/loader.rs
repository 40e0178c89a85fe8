//! What firmware and boot loader do at each start, on the disk image.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use slots::{Disk, Geometry, Gpt, Guid, SectorSize};
use update_engine::disk::SlotName;

use super::Outcome;

/// Boots: the slot that the loader's rule picks, its try spent on the disk before its kernel
/// starts.
pub fn boot(disk: &Path) -> Outcome<SlotName> {
    let mut disk = Image::open(disk)?;
    let gpt = Gpt::read(&mut disk)?;
    let mut table = gpt.table().clone();
    let choice = table.choose(Guid::FLATCAR_USR).ok_or("no slot can be booted")?;
    table.set_attributes(choice.slot, choice.spent)?;
    gpt.commit(&mut disk, &table)?;
    match choice.slot.get() {
        3 => Ok(SlotName::A),
        4 => Ok(SlotName::B),
        other => Err(format!("the loader chose partition {other}").into()),
    }
}

/// A disk image with sectors of 512 bytes.
struct Image {
    file: File,
    sectors: u64,
}

impl Image {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let sectors = file.metadata()?.len() / 512;
        Ok(Self { file, sectors })
    }
}

impl Disk for Image {
    type Error = io::Error;

    fn geometry(&self) -> Geometry {
        Geometry {
            sector_size: SectorSize::B512,
            sectors: self.sectors,
        }
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, lba * 512)
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, lba * 512)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
