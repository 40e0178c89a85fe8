//! The order of things, on a machine in memory.

use slots::SlotAttributes;

use crate::fake::{Fake, Kernel, Outcome};
use crate::image::{self, PARTUUID_A, PARTUUID_B, disk, good, trial};

const A: &str = "\\flatcar\\vmlinuz-a";
const B: &str = "\\flatcar\\vmlinuz-b";

fn runs(path: &str, guid: &str) -> Outcome {
    Outcome::Runs(path.into(), format!("usr={guid}"))
}

#[test]
fn a_slot_on_trial_runs_once_and_then_the_good_one() {
    for sector in [512, 4096] {
        let mut machine = Fake::new(disk(sector, good(1), trial(2, 1)), sector);
        assert_eq!(machine.power_on(), runs(B, PARTUUID_B));
        assert_eq!(machine.slots(), [good(1), trial(2, 0)]);
        assert_eq!(machine.power_on(), runs(A, PARTUUID_A));
        assert_eq!(machine.slots(), [good(1), trial(2, 0)]);
    }
}

#[test]
fn the_try_is_on_the_medium_before_the_kernel_is_looked_for() {
    let mut machine = Fake::new(disk(512, good(1), trial(2, 3)), 512);
    machine.power_on();
    assert_eq!(machine.when_read, Some([good(1), trial(2, 2)]));
}

#[test]
fn booting_a_good_slot_writes_nothing() {
    let before = disk(512, good(1), good(2));
    let mut machine = Fake::new(before.clone(), 512);
    assert_eq!(machine.power_on(), runs(B, PARTUUID_B));
    assert!(machine.disk.durable == before);
}

#[test]
fn a_slot_without_a_kernel_costs_its_try_and_the_next_one_runs() {
    let mut machine = Fake::new(disk(512, good(1), trial(2, 1)), 512);
    machine.kernels.remove(B);
    assert_eq!(machine.power_on(), runs(A, PARTUUID_A));
    assert_eq!(machine.slots(), [good(1), trial(2, 0)]);
    assert!(
        machine
            .console
            .contains("passed over: USR-B has no kernel: no \\coreos\\vmlinuz-b, no \\flatcar\\vmlinuz-b"),
        "{}",
        machine.console
    );
}

#[test]
fn a_kernel_that_fails_in_any_way_is_tried_once_and_passed_over() {
    let cases = [
        (Kernel::Unreadable, "vmlinuz-b cannot be loaded: bad sector"),
        (Kernel::Refused, "vmlinuz-b cannot be loaded: not signed"),
        (Kernel::GivesUp, "vmlinuz-b gave up: no memory"),
    ];
    for (kernel, said) in cases {
        let mut machine = Fake::new(disk(512, good(1), trial(2, 3)), 512);
        machine.kernels.insert(B, kernel);
        assert_eq!(machine.power_on(), runs(A, PARTUUID_A), "{kernel:?}");
        assert_eq!(machine.slots(), [good(1), trial(2, 2)], "{kernel:?}");
        assert!(machine.console.contains(said), "{}", machine.console);
    }
}

#[test]
fn a_kernel_that_cannot_be_read_is_not_replaced_by_an_older_one() {
    let mut machine = Fake::new(disk(512, good(1), trial(2, 1)), 512);
    machine.kernels.insert(B, Kernel::Unreadable);
    machine.kernels.insert("\\vmlinuz-b", Kernel::Runs);
    assert_eq!(machine.power_on(), runs(A, PARTUUID_A));
}

#[test]
fn kernels_in_the_root_are_found_and_those_of_the_daemon_come_first() {
    let mut machine = Fake::new(disk(512, good(2), good(1)), 512);
    machine.kernels.insert("\\vmlinuz-a", Kernel::Runs);
    assert_eq!(machine.power_on(), runs(A, PARTUUID_A));
    machine.kernels.remove(A);
    assert_eq!(machine.power_on(), runs("\\vmlinuz-a", PARTUUID_A));
}

#[test]
fn on_a_disk_that_takes_no_writes_only_a_good_slot_runs() {
    let mut machine = Fake::new(disk(512, good(1), trial(2, 1)), 512);
    machine.disk.writable = false;
    assert_eq!(machine.power_on(), runs(A, PARTUUID_A));
    let said = "USR-B is on trial and its try cannot be spent: cannot write LBA";
    assert!(machine.console.contains(said), "{}", machine.console);

    // One that was marked good although it has tries left loses nothing by keeping them.
    let mut both = Fake::new(
        disk(
            512,
            good(1),
            SlotAttributes::from_word(trial(2, 1).word() | 1 << 56),
        ),
        512,
    );
    both.disk.writable = false;
    assert_eq!(both.power_on(), runs(B, PARTUUID_B));
}

#[test]
fn a_damaged_copy_is_repaired_before_a_kernel_is_looked_for() {
    for sector in [512, 4096] {
        let whole = disk(sector, good(1), good(2));
        let size = usize::try_from(sector).unwrap();
        let (primary, backup) = (size, whole.len() - size);
        for damaged in [primary + 20, 2 * size + 2 * 128 + 50, backup + 60] {
            let mut bytes = whole.clone();
            bytes[damaged] ^= 0xff;
            let mut machine = Fake::new(bytes, sector);
            assert_eq!(machine.power_on(), runs(B, PARTUUID_B));
            // `slots` of the fake fails on a damaged copy.
            assert_eq!(machine.when_read, Some([good(1), good(2)]));
            assert!(
                machine.console.contains("repaired the partition table"),
                "{}",
                machine.console
            );
        }
    }
}

#[test]
fn when_both_copies_are_valid_and_differ_the_primary_counts() {
    let mut bytes = disk(512, good(2), good(1));
    let other = disk(512, good(1), good(2));
    // Both images have random GUIDs: the backup of the other one is a valid copy of another table.
    let start = bytes.len() - 33 * 512;
    bytes[start..].copy_from_slice(&other[start..]);
    let mut machine = Fake::new(bytes, 512);
    assert_eq!(machine.power_on(), runs(A, PARTUUID_A));
    assert_eq!(machine.when_read, Some([good(2), good(1)]));
}

/// The disk with `grown` bytes more.
fn grown(disk: &[u8], grown: usize) -> Vec<u8> {
    [disk, &vec![0; grown]].concat()
}

#[test]
fn where_the_firmware_says_that_the_disk_is_larger_the_backup_is_where_the_primary_names_it() {
    for sector in [512, 4096] {
        for gap in [0, 1] {
            let mut bytes = disk(sector, good(1), trial(2, 1));
            // Something in the gap before the first partition: no spare array there.
            bytes[image::ESP_START - 1] = gap;
            let end = u64::try_from(bytes.len()).unwrap() / u64::from(sector);
            for said in [end + 1, end + 100, 1 << 40] {
                let mut machine = Fake::new(bytes.clone(), sector);
                machine.disk.said = Some(said);
                assert_eq!(machine.power_on(), runs(B, PARTUUID_B), "{said}");
                assert!(!machine.console.contains("damaged"), "{}", machine.console);
                assert_eq!(machine.slots(), [good(1), trial(2, 0)], "{said}");
                assert_eq!(machine.power_on(), runs(A, PARTUUID_A), "{said}");
            }
        }
    }
}

#[test]
fn where_the_firmware_says_that_the_disk_is_larger_damage_is_repaired_all_the_same() {
    let whole = disk(512, good(1), trial(2, 1));
    for damaged in [
        2 * 512 + 2 * 128 + 50,
        whole.len() - 512 + 60,
        whole.len() - 33 * 512,
    ] {
        let mut bytes = whole.clone();
        bytes[damaged] ^= 0xff;
        let mut machine = Fake::new(bytes, 512);
        machine.disk.said = Some(1 << 40);
        assert_eq!(machine.power_on(), runs(B, PARTUUID_B), "{damaged}");
        assert_eq!(machine.slots(), [good(1), trial(2, 0)], "{damaged}");
    }
}

#[test]
fn an_enlarged_disk_is_no_damage_and_its_backup_stays() {
    for sector in [512, 4096] {
        let bytes = disk(sector, good(1), trial(2, 1));
        let mut machine = Fake::new(grown(&bytes, 1 << 20), sector);
        assert_eq!(machine.power_on(), runs(B, PARTUUID_B));
        for word in ["damaged", "repaired"] {
            assert!(!machine.console.contains(word), "{}", machine.console);
        }
        let (table, added) = machine.disk.durable.split_at(bytes.len());
        assert_eq!(image::attributes(table, sector), [good(1), trial(2, 0)]);
        assert_eq!(machine.slots(), [good(1), trial(2, 0)]);
        assert!(added.iter().all(|&byte| byte == 0));
    }
}

#[test]
fn without_a_slot_or_a_table_the_firmware_gets_the_machine_back() {
    let mut machine = Fake::new(disk(512, trial(1, 0), trial(0, 1)), 512);
    let none = "no slot can be booted (0 passed over)";
    assert_eq!(machine.power_on(), Outcome::Firmware(none.into()));

    let mut machine = Fake::new(disk(512, good(1), trial(2, 1)), 512);
    machine.kernels.clear();
    let both = "no slot can be booted (2 passed over)";
    assert_eq!(machine.power_on(), Outcome::Firmware(both.into()));

    let mut machine = Fake::new(vec![0; 1 << 20], 512);
    let unusable = "the boot disk cannot be used";
    assert_eq!(machine.power_on(), Outcome::Firmware(unusable.into()));
}

#[test]
fn a_partition_that_is_neither_slot_is_passed_over() {
    let stray = "11111111-2222-3333-4444-555555555555";
    let slots = [("USR-A", PARTUUID_A, good(1)), ("SPARE", stray, good(2))];
    let mut machine = Fake::new(image::labelled(512, slots), 512);
    assert_eq!(machine.power_on(), runs(A, PARTUUID_A));
    assert!(
        machine.console.contains("partition 4 is neither USR-A nor USR-B"),
        "{}",
        machine.console
    );
}

#[test]
fn an_unusable_command_line_is_named_and_the_slot_runs_with_the_least_it_needs() {
    for bytes in [None, Some(b"quiet\xff".to_vec()), Some(vec![b'x'; 4096])] {
        let mut machine = Fake::new(disk(512, good(1), good(2)), 512);
        machine.command_line = bytes;
        let expected = Outcome::Runs(B.into(), format!("mount.usr=PARTUUID={PARTUUID_B}"));
        assert_eq!(machine.power_on(), expected);
        assert!(machine.console.contains("\\cmdline"), "{}", machine.console);
    }
}
