//! The disk that holds the running slot: what changes in its table and what doesn't, seen by `cgpt`, `sgdisk`
//! and the `gpt` crate.

use std::error::Error as _;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use update_engine::disk::{DiskError, Marked, SlotDisk, SlotName};

use crate::support::node::Node;

const SECTOR: u64 = 512;
/// Where the attribute words of both slots and the checksums lie in a copy's header and entries.
const HEADER_CHECKSUMS: [(u64, u64); 2] = [(16, 4), (88, 4)];
const ATTRIBUTES: [(u64, u64); 2] = [(2 * 128 + 48, 8), (3 * 128 + 48, 8)];

fn node() -> Node {
    Node::new("http://localhost/")
}

fn open(node: &Node) -> SlotDisk {
    SlotDisk::open(&node.disk(), SlotName::A).unwrap()
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

fn backup_header(disk: &Path) -> u64 {
    fs::metadata(disk).unwrap().len() - SECTOR
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
    let node = node();
    let before = unchanging(&node.disk());
    let disk = open(&node);
    disk.make_next(SlotName::B).unwrap();
    assert_eq!(
        (node.attributes(SlotName::A), node.attributes(SlotName::B)),
        ((1, 0, 1), (2, 1, 0))
    );
    disk.make_unbootable(SlotName::B).unwrap();
    assert_eq!(
        (node.attributes(SlotName::A), node.attributes(SlotName::B)),
        ((1, 0, 1), (0, 0, 0))
    );
    disk.make_next(SlotName::B).unwrap();
    let booted = SlotDisk::open(&node.disk(), node.reboot()).unwrap();
    assert_eq!(
        (booted.running(), node.attributes(SlotName::B)),
        (SlotName::B, (2, 0, 0))
    );
    assert_eq!(booted.mark_good().unwrap(), Marked::Written);
    assert_eq!(
        (node.attributes(SlotName::A), node.attributes(SlotName::B)),
        ((1, 0, 1), (2, 0, 1))
    );
    node.assert_table_is_whole();
    assert!(
        unchanging(&node.disk()) == before,
        "a byte changed that no edit names"
    );
}

#[test]
fn marking_a_good_slot_good_writes_nothing() {
    let node = node();
    let before = fs::metadata(node.disk()).unwrap().modified().unwrap();
    assert_eq!(open(&node).mark_good().unwrap(), Marked::Already);
    assert_eq!(fs::metadata(node.disk()).unwrap().modified().unwrap(), before);
}

#[test]
fn a_damaged_copy_is_repaired_before_anything_is_relied_on() {
    for offset in [SECTOR, 2 * SECTOR, 33 * SECTOR] {
        for from_the_end in [false, true] {
            let node = node();
            let whole = fs::read(node.disk()).unwrap();
            let header = backup_header(&node.disk());
            damage(
                &node.disk(),
                if from_the_end {
                    header - offset + SECTOR
                } else {
                    offset
                },
            );
            open(&node).require_running_good(SlotName::B).unwrap();
            assert!(
                fs::read(node.disk()).unwrap() == whole,
                "damage at {offset}, {from_the_end}"
            );
            node.assert_table_is_whole();
        }
    }
}

#[test]
fn a_backup_that_cannot_be_written_refuses_before_the_other_slot_is_touched() {
    let node = node();
    let mut table = fs::read(node.disk()).unwrap();
    // Usable sectors up to the last one leave the backup no room; its old place is gone.
    let header = &mut table[512..1024];
    let last = fs::metadata(node.disk()).unwrap().len() / SECTOR - 2;
    header[48..56].copy_from_slice(&last.to_le_bytes());
    header[16..20].fill(0);
    let checksum = crc(&header[..92]);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    fs::write(node.disk(), &table).unwrap();
    let disk = open(&node);
    for error in [
        disk.require_running_good(SlotName::B).unwrap_err(),
        disk.make_unbootable(SlotName::B).unwrap_err(),
        disk.mark_good().map(|_| ()).unwrap_err(),
    ] {
        assert!(
            said(&error).contains("no room for the backup GPT"),
            "{}",
            said(&error)
        );
    }
    assert!(fs::read(node.disk()).unwrap() == table, "something was written");
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn a_running_slot_that_is_on_trial_keeps_the_other_one_safe() {
    let node = node();
    open(&node).make_next(SlotName::B).unwrap();
    let disk = SlotDisk::open(&node.disk(), node.reboot()).unwrap();
    let error = disk.require_running_good(SlotName::A).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the running slot USR-B is not marked good in the primary partition table \
         (priority=2 tries=0 successful=0)"
    );
}

#[test]
fn the_running_slot_is_never_a_target() {
    let node = node();
    let before = fs::read(node.disk()).unwrap();
    let disk = open(&node);
    for result in [
        disk.require_running_good(SlotName::A),
        disk.make_unbootable(SlotName::A),
        disk.make_next(SlotName::A),
        disk.open_target(SlotName::A).map(|_| ()),
        disk.seal(SlotName::A).map(|_| ()),
    ] {
        assert_eq!(
            result.unwrap_err().to_string(),
            "USR-A is running: it is never a target"
        );
    }
    assert!(fs::read(node.disk()).unwrap() == before);
}

#[test]
fn two_engines_cannot_write_the_same_slot() {
    let node = node();
    let first = open(&node).open_target(SlotName::B).unwrap();
    assert!(matches!(
        open(&node).open_target(SlotName::B),
        Err(DiskError::Busy { .. })
    ));
    drop(first);
    open(&node).open_target(SlotName::B).unwrap();
}

#[test]
fn a_target_reaches_its_slot_and_no_further() {
    let node = node();
    let target = open(&node).open_target(SlotName::B).unwrap();
    let before = node.untouchable();
    assert_eq!(target.len(), open(&node).slot_len(SlotName::B));
    target.write_at(b"first", 0).unwrap();
    target.write_at(b"last", target.len() - 4).unwrap();
    assert!(target.write_at(b"past", target.len() - 3).is_err());
    target.sync().unwrap();
    let slot = node.slot(SlotName::B);
    assert!(slot.starts_with(b"first") && slot.ends_with(b"last"));
    assert!(node.untouchable() == before);
}

#[test]
fn slots_that_moved_since_the_disk_was_opened_are_refused() {
    let node = node();
    let disk = open(&node);
    crate::support::loops::run(
        "sgdisk",
        &[
            "-d",
            "4",
            "-n",
            "4:53248:86015",
            "-t",
            "4:5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6",
            "-c",
            "4:USR-B",
            "-a",
            "1",
            node.disk().to_str().unwrap(),
        ],
    );
    assert!(matches!(
        disk.make_unbootable(SlotName::B),
        Err(DiskError::Changed {
            slot: SlotName::B,
            ..
        })
    ));
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
            guid: "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6".parse().unwrap(),
            os: gpt::partition_types::OperatingSystem::None,
        };
        table
            .add_partition_at(label, number, first, 256, kind, 0)
            .unwrap();
    }
    table.write().unwrap();
}
