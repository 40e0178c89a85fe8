//! Disk images with two slots, made and judged by the `gpt` crate: another reader than the loader's
//! own.

use std::io::Cursor;

use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::{OperatingSystem, Type};
use slots::{Priority, SlotAttributes, Tries};

const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";
const USR: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
pub(crate) const PARTUUID_A: &str = "7130c94a-213a-4e5a-8e26-6cce9662f132";
pub(crate) const PARTUUID_B: &str = "e03dd35c-7c2d-4a47-b3fe-27f15780a57c";
/// Partition 1, and where it lies.
pub(crate) const ESP_BYTES: usize = 8 << 20;
pub(crate) const ESP_START: usize = 1 << 20;
const SLOT_BYTES: usize = 1 << 20;
const SLOTS_START: usize = ESP_START + ESP_BYTES + SLOT_BYTES;
const DISK_BYTES: usize = SLOTS_START + 3 * SLOT_BYTES;

/// Marked good, with a priority.
pub(crate) fn good(priority: u8) -> SlotAttributes {
    SlotAttributes::default()
        .with_priority(Priority::new(priority).unwrap())
        .marked_good()
}

/// On trial, with a priority and tries.
pub(crate) fn trial(priority: u8, tries: u8) -> SlotAttributes {
    good(priority).on_trial(Tries::new(tries).unwrap())
}

/// A disk with sectors of `sector` bytes (512 or 4096), an empty EFI system partition and the two
/// slots.
pub(crate) fn disk(sector: u32, a: SlotAttributes, b: SlotAttributes) -> Vec<u8> {
    labelled(sector, [("USR-A", PARTUUID_A, a), ("USR-B", PARTUUID_B, b)])
}

/// Likewise, with other names for the slots.
pub(crate) fn labelled(sector: u32, slots: [(&str, &str, SlotAttributes); 2]) -> Vec<u8> {
    let mut bytes = Cursor::new(vec![0; DISK_BYTES]);
    let at = |offset: usize| u64::try_from(offset).unwrap() / u64::from(sector);
    ProtectiveMBR::with_lb_size(u32::try_from(at(DISK_BYTES) - 1).unwrap())
        .overwrite_lba0(&mut bytes)
        .unwrap();
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(block_size(sector))
        .create_from_device(&mut bytes, None)
        .unwrap();
    let [(label_a, _, a), (label_b, _, b)] = slots;
    // No gap in the numbers: the crate would close it.
    let layout = [
        ("EFI-SYSTEM", ESP, ESP_START, ESP_BYTES, 0),
        ("BIOS-BOOT", BIOS_BOOT, ESP_START + ESP_BYTES, SLOT_BYTES, 0),
        (label_a, USR, SLOTS_START, SLOT_BYTES, a.word()),
        (label_b, USR, SLOTS_START + SLOT_BYTES, SLOT_BYTES, b.word()),
    ];
    for (number, (label, guid, start, bytes, attributes)) in (1..).zip(layout) {
        table
            .add_partition_at(label, number, at(start), at(bytes), kind(guid), attributes)
            .unwrap();
    }
    let mut partitions = table.take_partitions();
    for (number, (_, guid, _)) in (3..).zip(&slots) {
        partitions.get_mut(&number).unwrap().part_guid = guid.parse().unwrap();
    }
    table.update_partitions(partitions).unwrap();
    table.write().unwrap();
    bytes.into_inner()
}

fn kind(guid: &str) -> Type {
    Type {
        guid: guid.parse().unwrap(),
        os: OperatingSystem::None,
    }
}

fn block_size(sector: u32) -> LogicalBlockSize {
    match sector {
        512 => LogicalBlockSize::Lb512,
        _ => LogicalBlockSize::Lb4096,
    }
}

/// Attributes of slots A and B as both copies hold them; fails where a copy is invalid or they
/// differ.
pub(crate) fn attributes(bytes: &[u8], sector: u32) -> [SlotAttributes; 2] {
    let size = block_size(sector);
    // The crate looks for the backup at the end: of a disk that grew, that is where the primary
    // says.
    let header = usize::try_from(sector).unwrap();
    let backup = u64::from_le_bytes(bytes[header + 32..header + 40].try_into().unwrap());
    let end = usize::try_from((backup + 1) * u64::from(sector)).unwrap();
    let mut bytes = Cursor::new(bytes[..end.min(bytes.len())].to_vec());
    let disk = GptConfig::new()
        .logical_block_size(size)
        .open_from_device(&mut bytes)
        .expect("a table");
    let primary = disk.primary_header().expect("the primary header").clone();
    let backup = disk.backup_header().expect("the backup header").clone();
    drop(disk);
    let [from_primary, from_backup] = [primary, backup].map(|header| {
        gpt::partition::file_read_partitions(&mut bytes, &header, size).expect("the copy's entries")
    });
    assert_eq!(from_primary, from_backup, "both copies");
    [3, 4].map(|number| SlotAttributes::from_word(from_primary[&number].flags))
}
