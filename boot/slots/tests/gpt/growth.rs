//! Disks that grow under their table: before a commit, while one is cut, and where firmware only
//! says so.

use slots::{Committed, Disk, Geometry, Gpt, PartitionNumber, WhichCopy};

use crate::crash::{
    Edit, SECTOR_SIZES, able, check_cut, check_done, commit, cut_everywhere, edits, enlarged,
};
use crate::image::{SECTORS, attributes, build, crc32, put, with_gap};
use crate::readers::{Firmware, Outcome, READERS, Reader, Table, power_on};
use crate::recorder::{Fault, Op, Recorder, cuts};

/// Where a header says that the last usable sector is.
const LAST_USABLE: usize = 48;
/// Where a header says that the other copy is.
const OTHER: usize = 32;

fn header_field(disk: &[u8], sector: usize, lba: u64, offset: usize) -> u64 {
    let start = usize::try_from(lba).unwrap() * sector + offset;
    u64::from_le_bytes(disk[start..start + 8].try_into().unwrap())
}

fn start(sector: usize, edit: Edit) -> Vec<u8> {
    build(sector, edit.before.0, edit.before.1)
}

fn array(sector: usize) -> u64 {
    u64::try_from((128 * 128_usize).div_ceil(sector)).unwrap()
}

/// How a cut disk that grew reads, and that it is finished from there.
fn cut_then_grown(context: &str, start: &[u8], sector: usize, edit: Edit, expected: &[Reader]) {
    let mut disk = Recorder::new(start.to_vec(), sector);
    commit(&mut disk, edit).unwrap();
    let mut lost_by_others = Vec::new();
    for cut in cuts(start, &disk.log, sector) {
        let grown = enlarged(&cut, sector);
        let readers = able(&grown, sector);
        lost_by_others.extend(READERS.into_iter().filter(|reader| !readers.contains(reader)));
        check_cut(context, &grown, sector, edit, expected);
        cut_everywhere(context, &grown, sector, edit, 0);
    }
    lost_by_others.dedup();
    let others: Vec<Reader> = READERS
        .into_iter()
        .filter(|reader| !expected.contains(reader))
        .collect();
    assert_eq!(lost_by_others, others, "{context}");
}

#[test]
fn a_cut_and_growth_take_the_table_from_no_reader() {
    for sector in SECTOR_SIZES {
        for edit in edits() {
            let gap = with_gap(&start(sector, edit), sector);
            cut_then_grown("gap of zeros", &gap, sector, edit, &READERS);
            cut_then_grown(
                "enlarged before, too",
                &enlarged(&gap, sector),
                sector,
                edit,
                &READERS,
            );
        }
    }
}

/// The same disk with another first usable sector in both headers.
fn beginning_at(disk: &[u8], sector: usize, first_usable: u64) -> Vec<u8> {
    let mut disk = disk.to_vec();
    for lba in [1, SECTORS - 1] {
        let start = usize::try_from(lba).unwrap() * sector;
        let header = &mut disk[start..start + 92];
        header[40..48].copy_from_slice(&first_usable.to_le_bytes());
        header[16..20].fill(0);
        let checksum = crc32(header);
        header[16..20].copy_from_slice(&checksum.to_le_bytes());
    }
    disk
}

#[test]
fn tables_that_leave_room_of_their_own_before_the_partitions_lose_no_reader_either() {
    // As sfdisk makes them: the first usable sector is the first partition's.
    for sector in SECTOR_SIZES {
        let edit = edits()[1];
        let gap = with_gap(&start(sector, edit), sector);
        let disk = beginning_at(&gap, sector, 72);
        cut_then_grown("room of its own", &disk, sector, edit, &READERS);
        let mut disk = Recorder::new(disk, sector);
        commit(&mut disk, edit).unwrap();
        let edited = build(sector, edit.after.0.word(), edit.after.1.word());
        assert!(disk.live == beginning_at(&with_gap(&edited, sector), sector, 72));
    }
}

#[test]
fn a_machine_that_is_cut_and_grows_boots_through_grub_and_is_finished_after_grub_wrote() {
    for sector in SECTOR_SIZES {
        for edit in edits() {
            let gap = with_gap(&start(sector, edit), sector);
            let mut disk = Recorder::new(gap.clone(), sector);
            commit(&mut disk, edit).unwrap();
            for cut in cuts(&gap, &disk.log, sector) {
                for (firmware, disk) in [
                    (Firmware::Bios, cut.clone()),
                    (Firmware::Uefi, cut.clone()),
                    (Firmware::Bios, enlarged(&cut, sector)),
                    (Firmware::Uefi, enlarged(&cut, sector)),
                ] {
                    let mut disk = disk;
                    let outcome = power_on(&mut disk, sector, firmware, Table::Primary);
                    assert!(matches!(outcome, Outcome::Boots(_)), "{outcome:?}, {firmware:?}");
                    let mut disk = Recorder::new(disk, sector);
                    commit(&mut disk, edit).unwrap();
                    check_done("after GRUB", &disk.live, sector, edit);
                }
            }
        }
    }
}

#[test]
fn without_a_spare_array_a_cut_and_growth_take_the_table_from_grub_alone() {
    // The control of the test above, and what remains for disks whose gap is in use.
    let others = [Reader::Linux, Reader::LinuxGpt, Reader::Uefi, Reader::SlotLoader];
    for sector in SECTOR_SIZES {
        for edit in edits() {
            cut_then_grown("gap in use", &start(sector, edit), sector, edit, &others);
        }
    }
}

#[test]
fn an_enlarged_disk_is_sound_and_nothing_is_written_for_that() {
    for sector in SECTOR_SIZES {
        for disk in [
            start(sector, edits()[0]),
            with_gap(&start(sector, edits()[0]), sector),
        ] {
            let mut disk = Recorder::new(enlarged(&disk, sector), sector);
            let gpt = Gpt::read(&mut disk).unwrap();
            assert!(gpt.is_sound());
            assert_eq!(gpt.commit(&mut disk, gpt.table()).unwrap(), Committed::Unchanged);
            assert!(disk.log.is_empty());
        }
    }
}

#[test]
fn an_edit_leaves_an_enlarged_disk_as_it_leaves_any_other() {
    for sector in SECTOR_SIZES {
        for edit in edits() {
            let small = with_gap(&start(sector, edit), sector);
            let mut disk = Recorder::new(enlarged(&small, sector), sector);
            assert_eq!(commit(&mut disk, edit).unwrap(), Committed::Written);
            let edited = build(sector, edit.after.0.word(), edit.after.1.word());
            let expected = enlarged(&with_gap(&edited, sector), sector);
            assert!(disk.live == expected, "{sector}");
        }
    }
}

#[test]
fn damage_on_an_enlarged_disk_is_mended_where_it_is() {
    for sector in SECTOR_SIZES {
        let edit = edits()[1];
        let sound = enlarged(&with_gap(&start(sector, edit), sector), sector);
        // The primary's header stays: without it nobody finds a backup in the middle.
        for lba in [2, SECTORS - 1, SECTORS - 1 - array(sector)] {
            let mut damaged = sound.clone();
            put(&mut damaged, sector, lba, &[0xa5; 64]);
            let mut disk = Recorder::new(damaged, sector);
            let gpt = Gpt::read(&mut disk).unwrap();
            assert!(!gpt.is_sound());
            assert_eq!(gpt.commit(&mut disk, gpt.table()).unwrap(), Committed::Repaired);
            assert!(disk.live == sound, "{sector}, LBA {lba}");
        }
    }
}

#[test]
fn where_the_gap_is_in_use_an_enlarged_disk_is_extended_as_a_whole() {
    for sector in SECTOR_SIZES {
        let edit = edits()[1];
        let mut disk = Recorder::new(enlarged(&start(sector, edit), sector), sector);
        commit(&mut disk, edit).unwrap();
        check_done("extended", &disk.live, sector, edit);
        let last = u64::try_from(disk.live.len() / sector).unwrap() - 1;
        assert_eq!(header_field(&disk.live, sector, 1, OTHER), last);
        for lba in [1, last] {
            let usable = header_field(&disk.live, sector, lba, LAST_USABLE);
            assert_eq!(usable, last - array(sector) - 1, "LBA {lba}");
        }
    }
}

#[test]
fn what_lies_in_the_gap_is_never_touched() {
    let first_partition = 72;
    for sector in SECTOR_SIZES {
        for lba in [2 + array(sector), first_partition - 20, first_partition - 1] {
            for edit in edits() {
                let mut disk = with_gap(&start(sector, edit), sector);
                put(&mut disk, sector, lba, &[1]);
                let mut disk = Recorder::new(disk, sector);
                commit(&mut disk, edit).unwrap();
                for op in &disk.log {
                    if let Op::Write { lba, data } = op {
                        let end = lba + u64::try_from(data.len() / sector).unwrap();
                        assert!(
                            end <= 2 + array(sector) || *lba > SECTORS / 2,
                            "wrote {lba}..{end}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_a_cut_leaves_in_the_gap_is_zero_after_the_next_edit() {
    for sector in SECTOR_SIZES {
        for edit in edits() {
            let gap = with_gap(&start(sector, edit), sector);
            let mut whole = Recorder::new(gap.clone(), sector);
            commit(&mut whole, edit).unwrap();
            for cut in cuts(&gap, &whole.log, sector) {
                let mut disk = Recorder::new(cut, sector);
                commit(&mut disk, edit).unwrap();
                // Another edit: the first one may have been on the medium.
                let gpt = Gpt::read(&mut disk).unwrap();
                let mut table = gpt.table().clone();
                let slot = PartitionNumber::new(4).unwrap();
                table.set_attributes(slot, attributes(7, 7, 0)).unwrap();
                gpt.commit(&mut disk, &table).unwrap();
                assert!(
                    with_gap(&disk.live, sector) == disk.live,
                    "{sector}, {}",
                    edit.before.0
                );
            }
        }
    }
}

/// A disk that is smaller than it says.
struct Overstated {
    disk: Recorder,
    says: u64,
}

impl Disk for Overstated {
    type Error = Fault;

    fn geometry(&self) -> Geometry {
        Geometry {
            sectors: self.says,
            ..self.disk.geometry()
        }
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.disk.read(lba, buf)
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), Fault> {
        if lba >= self.disk.geometry().sectors {
            return Err(Fault);
        }
        self.disk.write(lba, data)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.disk.flush()
    }
}

#[test]
fn a_disk_that_is_smaller_than_it_says_is_edited_all_the_same() {
    for sector in SECTOR_SIZES {
        for edit in edits() {
            for disk in [start(sector, edit), with_gap(&start(sector, edit), sector)] {
                let disk = Recorder::new(disk, sector);
                let mut overstated = Overstated { disk, says: 1 << 20 };
                let gpt = Gpt::read(&mut overstated).unwrap();
                assert!(gpt.is_sound());
                let mut table = gpt.table().clone();
                for (number, attributes) in [(3, edit.after.0), (4, edit.after.1)] {
                    let number = PartitionNumber::new(number).unwrap();
                    table.set_attributes(number, attributes).unwrap();
                }
                assert_eq!(gpt.commit(&mut overstated, &table).unwrap(), Committed::Written);
                check_done("overstated", &overstated.disk.live, sector, edit);
                let gpt = Gpt::read(&mut overstated).unwrap();
                assert!(gpt.copy(WhichCopy::Backup).is_ok());
            }
        }
    }
}

/// The same disk with the primary's entries at `entries`, as `sgdisk -j` puts them, and something
/// of boot firmware in front of them.
fn moved(disk: &[u8], sector: usize, entries: u64) -> Vec<u8> {
    let mut disk = beginning_at(disk, sector, entries + array(sector));
    let size = usize::try_from(array(sector)).unwrap() * sector;
    let found = disk[2 * sector..2 * sector + size].to_vec();
    put(&mut disk, sector, entries, &found);
    let firmware = usize::try_from(entries - 2).unwrap() * sector;
    put(&mut disk, sector, 2, &vec![0xf1; firmware]);
    let header = &mut disk[sector..sector + 92];
    header[72..80].copy_from_slice(&entries.to_le_bytes());
    header[16..20].fill(0);
    let checksum = crc32(header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    disk
}

#[test]
fn what_lies_before_entries_that_were_moved_is_never_written() {
    let entries = 8;
    for sector in SECTOR_SIZES {
        for edit in edits() {
            let disk = moved(&with_gap(&start(sector, edit), sector), sector, entries);
            let firmware = 2 * sector..usize::try_from(entries).unwrap() * sector;
            let mut whole = Recorder::new(disk.clone(), sector);
            commit(&mut whole, edit).unwrap();
            for (nth, cut) in cuts(&disk, &whole.log, sector).into_iter().enumerate() {
                let mut again = Recorder::new(cut, sector);
                let outcome = commit(&mut again, edit);
                assert!(
                    again.live[firmware.clone()] == disk[firmware.clone()],
                    "{sector}, cut {nth}, {outcome:?}"
                );
            }
        }
    }
}
