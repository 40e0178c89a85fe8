//! Power cuts: after each write and each flush of a commit, with every mix of unsynced sectors
//! lost.

use slots::{Committed, Gpt, GptError, PartitionNumber, SlotAttributes, WhichCopy};

use crate::image::{SECTORS, attributes, build, crc32, entries, put, with_gap, word};
use crate::readers::{self, READERS, Reader};
use crate::recorder::{Recorder, cuts};

pub(crate) const SECTOR_SIZES: [usize; 2] = [512, 4096];

/// An edit of both slots' attributes, as the daemon makes it.
#[derive(Clone, Copy)]
pub(crate) struct Edit {
    name: &'static str,
    pub(crate) before: (u64, u64),
    pub(crate) after: (SlotAttributes, SlotAttributes),
}

/// A is running and good throughout.
pub(crate) fn edits() -> [Edit; 4] {
    let good = |priority| word(priority, 0, 1);
    [
        Edit {
            name: "B becomes unbootable",
            before: (good(1), good(2)),
            after: (attributes(1, 0, 1), attributes(0, 0, 0)),
        },
        Edit {
            name: "B is next",
            before: (good(1), word(0, 0, 0)),
            after: (attributes(1, 0, 1), attributes(2, 1, 0)),
        },
        Edit {
            name: "A is marked good",
            before: (word(2, 0, 0), good(1)),
            after: (attributes(2, 0, 1), attributes(1, 0, 1)),
        },
        Edit {
            name: "priorities are renumbered",
            before: (good(15), good(15)),
            after: (attributes(2, 0, 1), attributes(1, 0, 1)),
        },
    ]
}

/// Disks to start from: sound, and with every damage to one copy.
fn starts(sector: usize, edit: Edit) -> Vec<(&'static str, Vec<u8>)> {
    let sound = build(sector, edit.before.0, edit.before.1);
    let array = u64::try_from((128 * 128_usize).div_ceil(sector)).unwrap();
    let damaged = |lba: u64| {
        let mut disk = sound.clone();
        put(&mut disk, sector, lba, &[0xa5; 64]);
        disk
    };
    let mut newer_backup = build(sector, edit.after.0.word(), edit.after.1.word());
    let front = usize::try_from(SECTORS / 2).unwrap() * sector;
    newer_backup[..front].copy_from_slice(&sound[..front]);
    vec![
        ("sound", sound.clone()),
        ("primary header damaged", damaged(1)),
        ("primary entries damaged", damaged(2)),
        ("last primary entries damaged", damaged(1 + array)),
        ("backup header damaged", damaged(SECTORS - 1)),
        ("backup entries damaged", damaged(SECTORS - 1 - array)),
        ("copies differ", newer_backup),
        ("enlarged", enlarged(&sound, sector)),
        ("enlarged, primary entries damaged", enlarged(&damaged(2), sector)),
        ("gap of zeros", with_gap(&sound, sector)),
        (
            "gap of zeros, primary header damaged",
            with_gap(&damaged(1), sector),
        ),
        (
            "gap of zeros, primary entries damaged",
            with_gap(&damaged(2), sector),
        ),
        (
            "gap of zeros, backup header damaged",
            with_gap(&damaged(SECTORS - 1), sector),
        ),
        (
            "gap of zeros, enlarged",
            with_gap(&enlarged(&sound, sector), sector),
        ),
    ]
}

pub(crate) fn enlarged(disk: &[u8], sector: usize) -> Vec<u8> {
    let mut larger = disk.to_vec();
    larger.resize(disk.len() + 100 * sector, 0);
    larger
}

pub(crate) fn commit(disk: &mut Recorder, edit: Edit) -> Result<Committed, GptError<crate::recorder::Fault>> {
    let gpt = Gpt::read(disk)?;
    let mut table = gpt.table().clone();
    table
        .set_attributes(PartitionNumber::new(3).unwrap(), edit.after.0)
        .unwrap();
    table
        .set_attributes(PartitionNumber::new(4).unwrap(), edit.after.1)
        .unwrap();
    gpt.commit(disk, &table)
}

/// What our own reader takes for the table's entries, as slots 3 and 4.
fn ours(disk: &[u8], sector: usize) -> Option<(u64, u64)> {
    let gpt = Gpt::read(&mut Recorder::new(disk.to_vec(), sector)).ok()?;
    let word = |number| {
        gpt.table()
            .partition(PartitionNumber::new(number).unwrap())
            .unwrap()
            .attributes
            .word()
    };
    Some((word(3), word(4)))
}

pub(crate) fn check_cut(context: &str, disk: &[u8], sector: usize, edit: Edit, able: &[Reader]) {
    let old = entries(edit.before.0, edit.before.1);
    let new = entries(edit.after.0.word(), edit.after.1.word());
    for &reader in able {
        let seen = readers::entries(disk, sector, reader);
        let seen = seen.unwrap_or_else(|| panic!("{context}: {reader:?} finds no table"));
        assert!(
            seen == old || seen == new,
            "{context}: {reader:?} sees neither table"
        );
        assert!(
            readers::chosen(&seen).is_some(),
            "{context}: {reader:?} finds no slot to boot"
        );
    }
    let both = [edit.before, (edit.after.0.word(), edit.after.1.word())];
    let seen = ours(disk, sector).unwrap_or_else(|| panic!("{context}: we find no table"));
    assert!(both.contains(&seen), "{context}: we see neither table");
}

/// Readers that find a table at the start must find one ever after.
pub(crate) fn able(disk: &[u8], sector: usize) -> Vec<Reader> {
    READERS
        .into_iter()
        .filter(|&reader| readers::entries(disk, sector, reader).is_some())
        .collect()
}

pub(crate) fn check_done(context: &str, disk: &[u8], sector: usize, edit: Edit) {
    let new = entries(edit.after.0.word(), edit.after.1.word());
    for reader in READERS {
        assert_eq!(
            readers::entries(disk, sector, reader).as_ref(),
            Some(&new),
            "{context}: {reader:?}"
        );
    }
    let gpt = Gpt::read(&mut Recorder::new(disk.to_vec(), sector)).unwrap();
    assert!(gpt.is_sound(), "{context}: {gpt:?}");
}

/// Commits on `start`, checks every cut, and that the commit is finished from each of them; `depth`
/// more times the finishing is cut too.
pub(crate) fn cut_everywhere(context: &str, start: &[u8], sector: usize, edit: Edit, depth: usize) {
    let able = able(start, sector);
    let mut disk = Recorder::new(start.to_vec(), sector);
    commit(&mut disk, edit).unwrap_or_else(|error| panic!("{context}: {error}"));
    check_done(context, &disk.live, sector, edit);
    for cut in cuts(start, &disk.log, sector) {
        check_cut(context, &cut, sector, edit, &able);
        if depth > 0 {
            cut_everywhere(&format!("{context}, cut"), &cut, sector, edit, depth - 1);
        }
    }
}

#[test]
fn a_cut_at_any_write_leaves_every_reader_the_old_or_the_new_table() {
    for sector in SECTOR_SIZES {
        for edit in edits() {
            let sound = build(sector, edit.before.0, edit.before.1);
            cut_everywhere(&format!("{sector}, {}", edit.name), &sound, sector, edit, 2);
            let gap = with_gap(&sound, sector);
            cut_everywhere(
                &format!("{sector}, gap of zeros, {}", edit.name),
                &gap,
                sector,
                edit,
                1,
            );
        }
    }
}

#[test]
fn repairing_a_damaged_copy_takes_the_table_from_no_reader() {
    for sector in SECTOR_SIZES {
        for edit in edits() {
            for (damage, start) in starts(sector, edit) {
                // Every edit has the same steps: one is enough where there are more of them.
                if (damage.contains("gap") || damage.contains("enlarged,")) && edit.name != "B is next" {
                    continue;
                }
                cut_everywhere(
                    &format!("{sector}, {damage}, {}", edit.name),
                    &start,
                    sector,
                    edit,
                    1,
                );
            }
        }
    }
}

#[test]
fn writes_that_bypass_the_order_are_caught_by_the_models() {
    // The models are worth something only if they see what goes wrong without the order: new
    // entries under the old header stop GRUB, and either torn primary stops Linux.
    for sector in SECTOR_SIZES {
        let old = build(sector, word(1, 0, 1), word(0, 0, 0));
        let new = build(sector, word(1, 0, 1), word(2, 1, 0));
        let mixed = |primary_header: &[u8], primary_entries: &[u8]| {
            let mut disk = new.clone();
            disk[sector..2 * sector].copy_from_slice(&primary_header[sector..2 * sector]);
            disk[2 * sector..3 * sector].copy_from_slice(&primary_entries[2 * sector..3 * sector]);
            disk
        };
        let backup = [Reader::LinuxGpt, Reader::Uefi, Reader::SlotLoader];
        assert_eq!(able(&mixed(&old, &new), sector), backup);
        let and_grub = [&[Reader::Grub], &backup[..]].concat();
        assert_eq!(able(&mixed(&new, &old), sector), and_grub);
    }
}

#[test]
fn a_backup_that_cannot_be_written_leaves_the_primary_untouched() {
    for sector in SECTOR_SIZES {
        for edit in edits() {
            let start = build(sector, edit.before.0, edit.before.1);
            let mut whole = Recorder::new(start.clone(), sector);
            commit(&mut whole, edit).unwrap();
            for from in 0..whole.log.len() {
                let mut disk = Recorder::failing(start.clone(), sector, from);
                let error = commit(&mut disk, edit).unwrap_err();
                let copy = match error {
                    GptError::Write { copy, .. } | GptError::Flush { copy, .. } => copy,
                    other => panic!("{other}"),
                };
                let front = usize::try_from(SECTORS / 2).unwrap() * sector;
                if copy == WhichCopy::Backup {
                    assert_eq!(
                        disk.live[..front],
                        start[..front],
                        "{}: fails from {from}",
                        edit.name
                    );
                }
                check_cut(edit.name, &disk.live, sector, edit, &READERS);
                disk.fails_from = None;
                commit(&mut disk, edit).unwrap();
                check_done(edit.name, &disk.live, sector, edit);
            }
        }
    }
}

#[test]
fn a_tiny_enlargement_with_a_damaged_primary_is_refused_rather_than_overwriting_the_only_copy() {
    let edit = edits()[0];
    let mut disk = build(512, edit.before.0, edit.before.1);
    disk.resize(disk.len() + 10 * 512, 0);
    // The header stays, so that the backup is found in the middle; its entries are gone.
    put(&mut disk, 512, 2, &[0; 512]);
    assert_ne!(crc32(&disk[1024..1536]), 0);
    let mut recorder = Recorder::new(disk, 512);
    assert!(matches!(
        commit(&mut recorder, edit),
        Err(GptError::NoRoom {
            copy: WhichCopy::Backup,
            ..
        })
    ));
    assert!(recorder.log.is_empty());
}
