//! Damaged, hostile and foreign tables.

use proptest::prelude::*;
use slots::{
    Committed, Disk, Flaw, Geometry, Gpt, GptError, Guid, LayoutFlaw, PartitionNumber, SectorSize, WhichCopy,
};

use crate::image::{ENTRY, SECTORS, Shape, attributes, build, entries, place, put, shaped, with_gap, word};
use crate::recorder::{Fault, Recorder};

fn number(value: u32) -> PartitionNumber {
    PartitionNumber::new(value).unwrap()
}

fn read(disk: &[u8], sector: usize) -> Result<Gpt, GptError<Fault>> {
    Gpt::read(&mut Recorder::new(disk.to_vec(), sector))
}

#[test]
fn the_table_reads_as_the_gpt_crate_reads_it() {
    for (sector, size) in [
        (512, gpt::disk::LogicalBlockSize::Lb512),
        (4096, gpt::disk::LogicalBlockSize::Lb4096),
    ] {
        let disk = build(sector, word(1, 0, 1), word(2, 1, 0));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &disk).unwrap();
        let theirs = gpt::GptConfig::new()
            .logical_block_size(size)
            .open(file.path())
            .unwrap();
        let ours = read(&disk, sector).unwrap();
        let ours: Vec<_> = ours
            .table()
            .partitions()
            .map(|p| {
                (
                    p.number.get(),
                    p.guid.to_string(),
                    p.first_lba,
                    p.last_lba,
                    p.attributes.word(),
                    p.label,
                )
            })
            .collect();
        let theirs: Vec<_> = theirs
            .partitions()
            .iter()
            .map(|(&n, p)| {
                (
                    n,
                    p.part_guid.to_string(),
                    p.first_lba,
                    p.last_lba,
                    p.flags,
                    p.name.clone(),
                )
            })
            .collect();
        assert_eq!(ours, theirs);
    }
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let mut disk = Recorder::new(build(512, word(1, 0, 1), word(0, 0, 0)), 512);
    let gpt = Gpt::read(&mut disk).unwrap();
    assert_eq!(gpt.commit(&mut disk, gpt.table()).unwrap(), Committed::Unchanged);
    assert!(disk.log.is_empty());
}

#[test]
fn an_edit_changes_its_attribute_word_and_checksums_and_no_other_byte() {
    for sector in [512, 4096] {
        let before = build(sector, word(1, 0, 1), word(0, 0, 0));
        let mut disk = Recorder::new(before, sector);
        let gpt = Gpt::read(&mut disk).unwrap();
        let mut table = gpt.table().clone();
        table.set_attributes(number(4), attributes(2, 1, 0)).unwrap();
        assert_eq!(gpt.commit(&mut disk, &table).unwrap(), Committed::Written);
        assert!(disk.live == build(sector, word(1, 0, 1), word(2, 1, 0)));
    }
}

#[test]
fn no_sector_of_a_partition_is_ever_written() {
    let mut disk = Recorder::new(build(512, word(1, 0, 1), word(0, 0, 0)), 512);
    put(&mut disk.live, 512, 33, &[0xa5; 512]);
    let gpt = Gpt::read(&mut disk).unwrap();
    let mut table = gpt.table().clone();
    table.set_attributes(number(4), attributes(2, 1, 0)).unwrap();
    gpt.commit(&mut disk, &table).unwrap();
    for op in &disk.log {
        if let crate::recorder::Op::Write { lba, data } = op {
            let end = lba + u64::try_from(data.len() / 512).unwrap();
            assert!(end <= 34 || *lba >= SECTORS - 33, "wrote {lba}..{end}");
        }
    }
}

#[test]
fn of_two_valid_copies_the_primary_counts_and_the_backup_is_repaired() {
    let mut disk = build(512, word(1, 0, 1), word(2, 0, 1));
    let primary = build(512, word(1, 0, 1), word(0, 0, 0));
    disk[..100 * 512].copy_from_slice(&primary[..100 * 512]);
    let mut disk = Recorder::new(disk, 512);
    let gpt = Gpt::read(&mut disk).unwrap();
    assert!(!gpt.is_sound());
    assert_eq!(
        gpt.table().partition(number(4)).unwrap().attributes,
        attributes(0, 0, 0)
    );
    assert_eq!(gpt.commit(&mut disk, gpt.table()).unwrap(), Committed::Repaired);
    assert!(disk.live == primary);
}

#[test]
fn the_flaw_of_each_copy_is_named() {
    let mut disk = build(512, word(1, 0, 1), word(0, 0, 0));
    disk[512 + 60] ^= 1;
    disk[(usize::try_from(SECTORS).unwrap() - 33) * 512] ^= 1;
    let error = read(&disk, 512).unwrap_err();
    assert!(
        matches!(
            error,
            GptError::NoTable {
                primary: Flaw::HeaderChecksum { .. },
                backup: Flaw::EntriesChecksum { .. }
            }
        ),
        "{error}"
    );
}

#[test]
fn a_primary_that_the_medium_does_not_give_counts_as_damaged() {
    struct BadSector(Recorder);
    impl Disk for BadSector {
        type Error = Fault;
        fn geometry(&self) -> Geometry {
            self.0.geometry()
        }
        fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), Fault> {
            if lba == 1 {
                Err(Fault)
            } else {
                self.0.read(lba, buf)
            }
        }
        fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), Fault> {
            self.0.write(lba, data)
        }
        fn flush(&mut self) -> Result<(), Fault> {
            self.0.flush()
        }
    }
    let disk = build(512, word(1, 0, 1), word(0, 0, 0));
    let gpt = Gpt::read(&mut BadSector(Recorder::new(disk, 512))).unwrap();
    assert_eq!(
        gpt.copy(WhichCopy::Primary).unwrap_err(),
        Flaw::Unreadable { lba: 1 }
    );
    assert_eq!(gpt.table().partitions().count(), 7);
}

/// Longer headers, larger and fewer entries: whatever another program made of a table stays as it
/// made it.
#[test]
fn tables_of_other_shapes_are_edited_in_their_shape() {
    let old = (word(1, 0, 1), word(0, 0, 0));
    let new = (word(1, 0, 1), word(2, 1, 0));
    for sector in [512, 4096] {
        for (header, count, size) in [
            (92, 56, 128),
            (92, 64, 128),
            (92, 128, 256),
            (92, 64, 256),
            (92, 32, 512),
            (96, 128, 128),
            (104, 128, 128),
            (sector, 128, 128),
            (sector, 64, 256),
        ] {
            let shape = Shape { header, count, size };
            let before = shaped(sector, shape, old.0, old.1);
            let after = shaped(sector, shape, new.0, new.1);
            let longer = |disk: &[u8]| [disk, &vec![0; 100 * sector]].concat();
            let mut disks = vec![
                (before.clone(), after.clone()),
                (with_gap(&before, sector), with_gap(&after, sector)),
            ];
            // Larger arrays have no room for a spare one: the table of a longer disk would be
            // extended.
            if count * size <= 128 * ENTRY {
                disks.push((longer(&disks[1].0), longer(&disks[1].1)));
            }
            for (before, after) in disks {
                let mut disk = Recorder::new(before, sector);
                let gpt = Gpt::read(&mut disk).unwrap();
                assert!(gpt.is_sound());
                let mut table = gpt.table().clone();
                table.set_attributes(number(4), attributes(2, 1, 0)).unwrap();
                assert_eq!(gpt.commit(&mut disk, &table).unwrap(), Committed::Written);
                assert!(disk.live == after, "{sector}: {shape:?}");
            }
        }
    }
}

/// What no program makes is refused by name, and nothing is written.
#[test]
fn shapes_that_no_table_has_are_named() {
    for (field, value, flaw) in [
        (12, 91, Flaw::HeaderSize(91)),
        (12, 513, Flaw::HeaderSize(513)),
        (80, 0, Flaw::EntryCount { count: 0, size: 128 }),
        (84, 64, Flaw::EntrySize(64)),
        (84, 192, Flaw::EntrySize(192)),
        (84, 8192, Flaw::EntrySize(8192)),
    ] {
        let mut disk = build(512, word(1, 0, 1), word(0, 0, 0));
        for lba in [1, usize::try_from(SECTORS - 1).unwrap()] {
            let header = &mut disk[lba * 512..(lba + 1) * 512];
            header[field..field + 4].copy_from_slice(&u32::to_le_bytes(value));
            header[16..20].fill(0);
            let checksum = crate::image::crc32(&header[..92]);
            header[16..20].copy_from_slice(&checksum.to_le_bytes());
        }
        match read(&disk, 512).unwrap_err() {
            GptError::NoTable { primary, backup } => assert_eq!([primary, backup], [flaw, flaw]),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_slot_that_overlaps_another_partition_is_refused() {
    let mut entries = entries(word(1, 0, 1), word(0, 0, 0));
    // Partition 6 starts where partition 4 does.
    let start: Vec<u8> = entries[3 * ENTRY + 32..3 * ENTRY + 40].to_vec();
    entries[5 * ENTRY + 32..5 * ENTRY + 40].copy_from_slice(&start);
    let mut disk = build(512, 0, 0);
    place(&mut disk, 512, &entries, 1, SECTORS - 1);
    let gpt = read(&disk, 512).unwrap();
    assert_eq!(
        gpt.table().slot(number(4)),
        Err(LayoutFlaw::Overlap {
            number: number(4),
            other: number(6)
        })
    );
    assert!(gpt.table().slot(number(3)).is_ok());
    assert_eq!(gpt.table().slot(number(5)), Err(LayoutFlaw::Missing(number(5))));
}

#[test]
fn the_loader_chooses_among_slots_of_its_type_alone() {
    let disk = build(4096, word(1, 0, 1), word(2, 1, 0));
    let gpt = read(&disk, 4096).unwrap();
    let choice = gpt.table().choose(Guid::FLATCAR_USR).unwrap();
    assert_eq!((choice.slot, choice.spent), (number(4), attributes(2, 0, 0)));
    assert!(gpt.table().choose(Guid::UNUSED).is_none());
}

#[test]
fn a_disk_too_small_for_a_table_is_refused() {
    for sectors in 0..4 {
        let disk = Recorder::new(vec![0; sectors * 512], 512);
        assert_eq!(disk.geometry().sector_size, SectorSize::B512);
        assert!(Gpt::read(&mut { disk }).is_err());
    }
}

proptest! {
    /// Whatever stands in the headers, with right checksums: an error or a table, never a panic,
    /// and never a write outside the table's own sectors.
    #[test]
    fn hostile_headers_are_refused_or_read(
        field in prop::sample::select(vec![(8, 4), (12, 4), (24, 8), (32, 8), (40, 8), (48, 8), (72, 8), (80, 4), (84, 4)]),
        value in prop_oneof![any::<u64>(), 0u64..200, Just(u64::MAX), Just(1 << 63)],
        backup_too in any::<bool>(),
    ) {
        let mut disk = build(512, word(1, 0, 1), word(0, 0, 0));
        let (offset, len) = field;
        let last = usize::try_from(SECTORS - 1).unwrap();
        for lba in if backup_too { vec![1, last] } else { vec![1] } {
            let header = &mut disk[lba * 512..(lba + 1) * 512];
            header[offset..offset + len].copy_from_slice(&value.to_le_bytes()[..len]);
            header[16..20].fill(0);
            let covered = usize::try_from(u32::from_le_bytes(header[12..16].try_into().unwrap())).unwrap();
            let checksum = crate::image::crc32(&header[..covered.min(512)]);
            header[16..20].copy_from_slice(&checksum.to_le_bytes());
        }
        let mut recorder = Recorder::new(disk.clone(), 512);
        if let Ok(gpt) = Gpt::read(&mut recorder) {
            let mut table = gpt.table().clone();
            let _ = table.slot(number(3));
            if table.set_attributes(number(4), attributes(2, 1, 0)).is_ok() {
                let _ = gpt.commit(&mut recorder, &table);
            }
        }
    }

    #[test]
    fn noise_is_no_table(bytes in prop::collection::vec(any::<u8>(), 4096..8192)) {
        let whole = bytes.len() / 512 * 512;
        prop_assert!(read(&bytes[..whole], 512).is_err());
    }
}
