//! Edits that were cut before the disk grew.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use slots::{Disk, Geometry, Gpt, PartitionNumber, SectorSize, SlotAttributes, Tries};

use super::{Disk0, FOREIGN, LEN, MIB, TOOLS, Tool, check, edit, untouched};

/// A disk whose power fails after so many writes and syncs.
pub(super) struct Cut {
    file: File,
    sector: u32,
    left: usize,
}

impl Cut {
    pub(super) fn after(disk: &Path, sector: u32, operations: usize) -> Self {
        let file = File::options().read(true).write(true).open(disk).unwrap();
        Self {
            file,
            sector,
            left: operations,
        }
    }

    fn operate(&mut self) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("no power"))?;
        Ok(())
    }
}

impl Disk for Cut {
    type Error = io::Error;

    fn geometry(&self) -> Geometry {
        let bytes = io::Seek::seek(&mut &self.file, io::SeekFrom::End(0)).unwrap();
        Geometry {
            sector_size: SectorSize::new(self.sector).unwrap(),
            sectors: bytes / u64::from(self.sector),
        }
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, lba * u64::from(self.sector))
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> io::Result<()> {
        self.operate()?;
        self.file.write_all_at(data, lba * u64::from(self.sector))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.operate()?;
        self.file.sync_all()
    }
}

/// B becomes the next to boot, until the power fails; says whether it did.
fn cut(disk: &Disk0, operations: usize) -> bool {
    let mut medium = Cut::after(&disk.path(), disk.sector, operations);
    let gpt = Gpt::read(&mut medium).unwrap();
    let mut table = gpt.table().clone();
    let number = PartitionNumber::new(4).unwrap();
    let next = SlotAttributes::from_word(FOREIGN | 2 << 48).on_trial(Tries::ONE);
    table.set_attributes(number, next).unwrap();
    gpt.commit(&mut medium, &table).is_err()
}

/// First sector of the entries for which the primary's header vouches.
fn entries_of_primary(disk: &Disk0) -> u64 {
    let bytes = disk.bytes();
    let at = usize::try_from(disk.sector).unwrap() + 72;
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Each state of a cut commit in which the primary's header doesn't vouch for its own entries,
/// enlarged, then given to a tool.
fn cut_then_enlarged(tool: Tool, sector: u32, gap: u8, mut judge: impl FnMut(&Disk0, usize)) {
    let disk = Disk0::new(sector);
    let mut start = disk.bytes();
    start[(128 << 10) - 1] = gap;
    let mut last = Vec::new();
    for operations in 1.. {
        disk.resize(LEN);
        disk.put(&start);
        if !cut(&disk, operations) {
            break;
        }
        let found = disk.bytes();
        if found != last && entries_of_primary(&disk) != 2 {
            last = found;
            disk.grow();
            tool(&disk.path(), disk.directory.path());
            judge(&disk, operations);
        }
    }
}

#[test]
fn a_cut_edit_and_growth_leave_every_tool_a_table_that_it_enlarges_and_we_finish() {
    let old = FOREIGN | 1 << 48 | 1 << 56;
    let new = FOREIGN | 2 << 48 | 1 << 52;
    let sector = 512;
    let first_partition = 2 * MIB / u64::from(sector);
    for (name, tool) in TOOLS {
        let end = untouched(tool, sector);
        let mut states = 0;
        cut_then_enlarged(tool, sector, 0, |disk, operations| {
            let context = format!("{name}, cut after {operations}");
            assert!(
                entries_of_primary(disk) < first_partition,
                "{context}: entries inside ROOT"
            );
            let (_, found) = disk.partition(4);
            assert!(found == old || found == new, "{context}: {found:#x}");
            // sgdisk leaves as much room before the backup's entries as there is before the
            // primary's.
            let (found, _) = disk.partition(9);
            assert!(
                found <= end && found + 64 > end,
                "{context}: ROOT ends at {found}"
            );
            let order = disk.order();
            edit(disk);
            check(&context, disk, found, &order);
            assert!(
                entries_of_primary(disk) < first_partition,
                "{context}: entries inside ROOT"
            );
            states += 1;
        });
        assert!(states > 1, "{states}");
    }
}

#[test]
fn without_room_for_a_spare_array_a_cut_edit_and_growth_leave_entries_inside_root() {
    // The control of the test above: what sfdisk makes of it where the gap is in use.
    let mut inside = 0;
    cut_then_enlarged(TOOLS[1].1, 512, 1, |disk, _| {
        inside += usize::from(entries_of_primary(disk) > 2 * MIB / 512);
    });
    assert!(inside > 0);
}
