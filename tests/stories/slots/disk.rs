//! The disk that holds the running slot: what changes in its table and what doesn't, seen by
//! `cgpt`, `sgdisk` and the `gpt` crate.

use std::error::Error as _;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use tempfile::TempDir;
use update_engine::disk::{DiskError, Marked, SlotDisk, SlotName};

use crate::support::image::{Attributes, Image};
use crate::support::loops::run;

const SECTOR: u64 = 512;
/// Where the attribute words of both slots and the checksums lie in a copy's header and entries.
const HEADER_CHECKSUMS: [(u64, u64); 2] = [(16, 4), (88, 4)];
const ATTRIBUTES: [(u64, u64); 2] = [(2 * 128 + 48, 8), (3 * 128 + 48, 8)];

const USR: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
const SLOT_LEN: u64 = 1 << 20;

/// An image of its own, gone when dropped; slot A preferred, both good.
struct Disk {
    _directory: TempDir,
    image: Image,
}

impl Disk {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let image = Image::new(directory.path().join("disk.img"), SLOT_LEN);
        Self {
            _directory: directory,
            image,
        }
    }

    fn path(&self) -> &Path {
        self.image.path()
    }

    fn open(&self) -> SlotDisk {
        SlotDisk::open(self.path(), SlotName::A).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    /// Both slots' attributes as `cgpt` shows them.
    fn attributes(&self) -> [Attributes; 2] {
        [SlotName::A, SlotName::B].map(|slot| self.image.attributes(slot))
    }
}

/// The whole disk, with what an edit of attributes may change blanked.
fn unchanging(disk: &Path) -> Vec<u8> {
    let mut bytes = fs::read(disk).unwrap();
    let end = u64::try_from(bytes.len()).unwrap();
    for (header, entries) in [(SECTOR, 2 * SECTOR), (end - SECTOR, end - 33 * SECTOR)] {
        let headers = HEADER_CHECKSUMS.map(|(at, len)| (header + at, len));
        let words = ATTRIBUTES.map(|(at, len)| (entries + at, len));
        for (at, len) in headers.into_iter().chain(words) {
            bytes[usize::try_from(at).unwrap()..usize::try_from(at + len).unwrap()].fill(0);
        }
    }
    bytes
}

fn damage(disk: &Path, offset: u64) {
    let file = File::options().write(true).open(disk).unwrap();
    file.write_all_at(&[0xa5; 64], offset).unwrap();
}

/// The causes of an error, one sentence after the other.
fn said(error: &DiskError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn the_life_of_a_slot_is_what_other_tools_see() {
    let disk = Disk::new();
    let before = unchanging(disk.path());
    disk.open().make_unbootable(SlotName::B).unwrap();
    assert_eq!(disk.attributes(), [(2, 0, 1), (0, 0, 0)]);
    disk.open().make_next(SlotName::B).unwrap();
    assert_eq!(disk.attributes(), [(1, 0, 1), (2, 1, 0)]);
    let booted = SlotDisk::open(disk.path(), disk.image.boot()).unwrap();
    assert_eq!(disk.attributes(), [(1, 0, 1), (2, 0, 0)]);
    assert_eq!(
        (booted.running(), booted.mark_good().unwrap()),
        (SlotName::B, Marked::Written)
    );
    assert_eq!(disk.attributes(), [(1, 0, 1), (2, 0, 1)]);
    disk.image.assert_table_is_whole();
    assert!(
        unchanging(disk.path()) == before,
        "a byte changed that no edit names"
    );
}

#[test]
fn a_slot_that_shared_the_highest_priority_ends_alone_at_the_top() {
    let disk = Disk::new();
    disk.image.set_attributes(SlotName::A, (15, 3, 0));
    disk.image.set_attributes(SlotName::B, (15, 0, 1));
    assert_eq!(disk.open().mark_good().unwrap(), Marked::Written);
    assert_eq!(disk.attributes(), [(2, 0, 1), (1, 0, 1)]);
}

#[test]
fn marking_a_good_slot_good_writes_nothing() {
    let disk = Disk::new();
    let modified = || fs::metadata(disk.path()).unwrap().modified().unwrap();
    let before = modified();
    assert_eq!(disk.open().mark_good().unwrap(), Marked::Already);
    assert_eq!(modified(), before);
}

#[test]
fn a_damaged_copy_is_repaired_before_anything_is_relied_on() {
    let disk = Disk::new();
    // An edit of ours first: `cgpt` fills reserved bytes in its own way.
    disk.open().make_unbootable(SlotName::B).unwrap();
    let whole = disk.bytes();
    let last = u64::try_from(whole.len()).unwrap() - SECTOR;
    for offset in [
        SECTOR,
        2 * SECTOR,
        33 * SECTOR,
        last,
        last - SECTOR,
        last - 32 * SECTOR,
    ] {
        damage(disk.path(), offset);
        disk.open().require_running_good(SlotName::B).unwrap();
        assert!(disk.bytes() == whole, "damage at {offset}");
    }
    disk.image.assert_table_is_whole();
}

#[test]
fn a_backup_that_cannot_be_written_refuses_before_the_other_slot_is_touched() {
    let disk = Disk::new();
    // Usable sectors up to the last but one leave the backup no room.
    let mut table = disk.bytes();
    let last = u64::try_from(table.len()).unwrap() / SECTOR - 2;
    let header = &mut table[512..1024];
    header[48..56].copy_from_slice(&last.to_le_bytes());
    header[16..20].fill(0);
    let checksum = crc(&header[..92]);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    fs::write(disk.path(), &table).unwrap();
    for result in [
        disk.open().require_running_good(SlotName::B),
        disk.open().make_unbootable(SlotName::B),
        disk.open().mark_good().map(|_| ()),
    ] {
        let said = said(&result.unwrap_err());
        assert!(said.contains("no room for the backup GPT"), "{said}");
    }
    assert!(disk.bytes() == table, "something was written");
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    })
}

#[test]
fn a_running_slot_that_is_on_trial_keeps_the_other_one_safe() {
    let disk = Disk::new();
    disk.open().make_next(SlotName::B).unwrap();
    let booted = SlotDisk::open(disk.path(), disk.image.boot()).unwrap();
    let error = booted.require_running_good(SlotName::A).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the running slot USR-B is not marked good in the primary partition table \
         (priority=2 tries=0 successful=0)"
    );
}

#[test]
fn the_running_slot_is_never_a_target() {
    let disk = Disk::new();
    let before = disk.bytes();
    for result in [
        disk.open().require_running_good(SlotName::A),
        disk.open().make_unbootable(SlotName::A),
        disk.open().make_next(SlotName::A),
        disk.open().open_target(SlotName::A).map(|_| ()),
        disk.open().seal(SlotName::A).map(|_| ()),
    ] {
        assert_eq!(
            result.unwrap_err().to_string(),
            "USR-A is running: it is never a target"
        );
    }
    assert!(disk.bytes() == before);
}

#[test]
fn two_engines_cannot_write_the_same_slot() {
    let disk = Disk::new();
    let first = disk.open().open_target(SlotName::B).unwrap();
    assert!(matches!(
        disk.open().open_target(SlotName::B),
        Err(DiskError::Busy { .. })
    ));
    drop(first);
    disk.open().open_target(SlotName::B).unwrap();
}

#[test]
fn a_target_reaches_its_slot_and_no_further() {
    let disk = Disk::new();
    let before = disk.image.rest();
    let target = disk.open().open_target(SlotName::B).unwrap();
    assert_eq!(target.len(), SLOT_LEN);
    target.write_at(b"first", 0).unwrap();
    target.write_at(b"last", SLOT_LEN - 4).unwrap();
    assert!(target.write_at(b"past", SLOT_LEN - 3).is_err());
    target.sync().unwrap();
    let slot = disk.image.slot(SlotName::B);
    assert!(slot.starts_with(b"first") && slot.ends_with(b"last"));
    assert!(disk.image.rest() == before);
}

#[test]
fn slots_that_moved_since_the_disk_was_opened_are_refused() {
    let disk = Disk::new();
    let opened = disk.open();
    run(
        "cgpt",
        &["add", "-i", "4", "-s", "1024", disk.path().to_str().unwrap()],
    );
    let error = opened.make_unbootable(SlotName::B).unwrap_err();
    assert!(matches!(
        error,
        DiskError::Changed {
            slot: SlotName::B,
            ..
        }
    ));
}

#[test]
fn a_disk_with_two_partitions_for_one_slot_is_refused() {
    let disk = Disk::new();
    run(
        "cgpt",
        &[
            "add",
            "-i",
            "9",
            "-t",
            USR,
            "-l",
            "USR-B",
            disk.path().to_str().unwrap(),
        ],
    );
    let error = SlotDisk::open(disk.path(), SlotName::A).unwrap_err();
    assert!(
        said(&error).ends_with("both partition 4 and partition 9 claim to be USR-B"),
        "{}",
        said(&error)
    );
}

#[test]
fn a_disk_with_sectors_of_4096_bytes_is_edited_as_the_gpt_crate_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    make_4096(&path);
    let disk = SlotDisk::open(&path, SlotName::A).unwrap();
    assert_eq!(disk.slot_len(SlotName::B), 1 << 20);
    disk.mark_good().unwrap();
    disk.make_next(SlotName::B).unwrap();
    let read = GptConfig::new()
        .logical_block_size(LogicalBlockSize::Lb4096)
        .open(&path)
        .unwrap();
    assert_eq!(
        read.primary_header().unwrap().crc32_parts,
        read.backup_header().unwrap().crc32_parts
    );
    let flags: Vec<_> = read
        .partitions()
        .iter()
        .map(|(&number, p)| (number, p.flags >> 48))
        .collect();
    assert_eq!(flags, [(1, 0x101), (2, 0x012)]);
}

/// Two slots alone, by the `gpt` crate, which numbers them 1 and 2.
fn make_4096(path: &Path) {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap();
    file.set_len(4 << 20).unwrap();
    let config = GptConfig::new()
        .logical_block_size(LogicalBlockSize::Lb4096)
        .writable(true);
    let mut table = config.create_from_device(&file, None).unwrap();
    for (number, label, first) in [(1, "USR-A", 256), (2, "USR-B", 512)] {
        let kind = gpt::partition_types::Type {
            guid: USR.parse().unwrap(),
            os: gpt::partition_types::OperatingSystem::None,
        };
        table
            .add_partition_at(label, number, first, 256, kind, 0)
            .unwrap();
    }
    table.write().unwrap();
}
