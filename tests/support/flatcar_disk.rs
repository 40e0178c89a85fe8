//! Flatcar's partition layout on a file, built by the `gpt` crate.

use std::error::Error;
use std::fs::File;

use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{OperatingSystem, Type};
use uuid::Uuid;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Number, label, type, length in MiB (0: a slot's); PARTUUIDs of the slots are the same on every
/// Flatcar disk.
const LAYOUT: [(u32, &str, &str, u64); 7] = [
    (1, "EFI-SYSTEM", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", 4),
    (2, "BIOS-BOOT", "21686148-6449-6e6f-744e-656564454649", 2),
    (3, "USR-A", USR, 0),
    (4, "USR-B", USR, 0),
    (6, "OEM", "0fc63daf-8483-4772-8e79-3d69d8477de4", 2),
    (7, "OEM-CONFIG", "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0", 2),
    (9, "ROOT", "3884dd41-8582-4404-b9a8-e9b84f2df50e", 4),
];
const USR: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
const USR_A: &str = "7130c94a-213a-4e5a-8e26-6cce9662f132";
const USR_B: &str = "e03dd35c-7c2d-4a47-b3fe-27f15780a57c";
const SECTORS_PER_MIB: u64 = (1 << 20) / 512;
/// Priority 1, successful: what an installer leaves.
const GOOD: u64 = 1 << 48 | 1 << 56;

/// Writes a table with slots of `slot_mib` MiB to `disk`, and makes the file as long as that takes:
/// slot A is good, slot B empty. What the slots hold stays; where they begin, in bytes, is the
/// result.
///
/// # Errors
/// If the disk can't be written.
pub fn partition(mut disk: &File, slot_mib: u64) -> Outcome<[u64; 2]> {
    let length = |mib: u64| if mib == 0 { slot_mib } else { mib };
    let mib: u64 = LAYOUT.iter().map(|(_, _, _, mib)| length(*mib)).sum();
    disk.set_len((mib + 2) << 20)?;
    ProtectiveMBR::with_lb_size(u32::try_from((mib + 2) * SECTORS_PER_MIB - 1)?).overwrite_lba0(&mut disk)?;
    let mut table = gpt::GptConfig::new()
        .writable(true)
        .create_from_device(disk, None)?;
    let mut next = SECTORS_PER_MIB;
    for (number, label, kind, mib) in LAYOUT {
        let last = next + length(mib) * SECTORS_PER_MIB - 1;
        let kind = Type {
            guid: kind.parse()?,
            os: OperatingSystem::None,
        };
        table.add_partition_at(label, number, next, length(mib) * SECTORS_PER_MIB, kind, 0)?;
        next = last + 1;
    }
    let mut partitions = table.take_partitions();
    identify(&mut partitions, 3, USR_A, GOOD)?;
    identify(&mut partitions, 4, USR_B, 0)?;
    let start = |number| partitions.get(&number).map(|slot| slot.first_lba * 512);
    let slots = [start(3).ok_or("no slot A")?, start(4).ok_or("no slot B")?];
    table.update_partitions(partitions)?;
    table.write()?;
    Ok(slots)
}

fn identify(
    partitions: &mut std::collections::BTreeMap<u32, Partition>,
    number: u32,
    uuid: &str,
    flags: u64,
) -> Outcome {
    let partition = partitions.get_mut(&number).ok_or("a slot is missing")?;
    partition.part_guid = uuid.parse::<Uuid>()?;
    partition.flags = flags;
    Ok(())
}
