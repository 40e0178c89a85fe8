//! A row of the partition table as `cgpt show` prints it: scripts look for what follows `Attr:`.

use crate::disk::SlotRow;

/// Partition type of Flatcar's slots, as `cgpt` prints it.
const TYPE: &str = "5DFBF5F4-2848-4BAC-AA5E-0D9A20B745A6";

/// Prints one slot.
pub(super) fn row(row: &SlotRow) {
    println!("       start        size    part  contents");
    println!(
        "{:12}{:12}{:8}  Label: \"{}\"",
        row.first_lba, row.sectors, row.partition, row.slot
    );
    let indent = " ".repeat(34);
    println!("{indent}Type: {TYPE}");
    println!("{indent}UUID: {}", row.partuuid.to_uppercase());
    println!("{indent}Attr: {} ", row.attributes);
}
