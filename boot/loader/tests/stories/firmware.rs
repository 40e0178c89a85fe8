//! The order of things on real firmware, with a stand-in for the kernel.

use std::fs;

use sha2::{Digest as _, Sha256};
use slot_loader::Sha256Digest;

use crate::image::{PARTUUID_A, PARTUUID_B, attributes, disk, good, trial};
use crate::machine::{Files, Machine, application};

/// Gives up as slot B, runs as slot A: see `examples/fake_kernel.rs`.
const B_GIVES_UP: &[u8] = b"console=ttyS0 usr=PARTUUID=@PARTUUID@ fake=return-@SLOT@";
const COMMAND_LINE: &[u8] = b"# one line per topic\nconsole=ttyS0\nusr=PARTUUID=@PARTUUID@\n";
/// Text on the console after the machine was returned to the firmware.
const GAVE_UP: &str = "slot-loader: back to the firmware";

fn kernel() -> Vec<u8> {
    fs::read(application(Some("fake_kernel"))).unwrap()
}

/// A line of the stand-in, on a console that draws.
fn runs(console: &str, options: &str) {
    let line = format!("fake kernel: {options}");
    assert!(console.contains(&line), "no {line:?} in\n{console}");
}

#[test]
fn a_trial_is_charged_on_the_disk_and_the_next_power_on_goes_back() {
    let kernel = kernel();
    let machine = Machine::new(
        disk(512, good(1), trial(2, 1)),
        512,
        &[
            ("flatcar/vmlinuz-a", &kernel),
            ("flatcar/vmlinuz-b", &kernel),
            ("cmdline", COMMAND_LINE),
        ],
    );
    runs(
        &machine.power_on("\0"),
        &format!("console=ttyS0 usr=PARTUUID={PARTUUID_B}"),
    );
    assert_eq!(attributes(&machine.disk(0), 512), [good(1), trial(2, 0)]);
    runs(
        &machine.power_on("\0"),
        &format!("console=ttyS0 usr=PARTUUID={PARTUUID_A}"),
    );
    assert_eq!(attributes(&machine.disk(0), 512), [good(1), trial(2, 0)]);
}

#[test]
fn a_kernel_that_is_none_and_one_that_returns_are_passed_over() {
    let kernel = kernel();
    for (b, why) in [
        (
            &b"no kernel"[..],
            "\\vmlinuz-b cannot be loaded: loading the image",
        ),
        (&kernel, "\\vmlinuz-b gave up: it returned"),
    ] {
        let machine = Machine::new(
            disk(512, good(1), trial(2, 2)),
            512,
            &[("vmlinuz-a", &kernel), ("vmlinuz-b", b), ("cmdline", B_GIVES_UP)],
        );
        let console = machine.power_on("\0");
        assert!(console.contains(why), "no {why:?} in\n{console}");
        runs(
            &console,
            &format!("console=ttyS0 usr=PARTUUID={PARTUUID_A} fake=return-a"),
        );
        assert_eq!(attributes(&machine.disk(0), 512), [good(1), trial(2, 1)]);
    }
}

/// The control is the second run: without the file the same kernel stands still to its end.
#[test]
fn a_kernel_on_trial_that_hangs_is_reset_by_the_timer_that_its_file_asks_for() {
    let kernel = kernel();
    let digest: [u8; 32] = Sha256::digest(&kernel).into();
    let digest = Sha256Digest(digest);
    let handover = format!("KERNEL={digest}\nITCO_TIMEOUT=30\nOPEN_TIMEOUT=60\nFED_BY=systemd\n");
    let hangs: Files<'_> = &[
        ("vmlinuz-a", &kernel),
        ("vmlinuz-b", &kernel),
        ("cmdline", b"usr=@PARTUUID@ fake=hang-@SLOT@"),
        ("vmlinuz-b.watchdog", handover.as_bytes()),
    ];
    let (armed, last_words) = ("armed the TCO timer", "nothing has ended the hang");
    for with_file in [true, false] {
        let files = if with_file { hangs } else { &hangs[..3] };
        let machine = Machine::new(disk(512, good(1), trial(2, 1)), 512, files);
        let console = machine.power_on("\0");
        let word = if with_file {
            " watchdog.open_timeout=60"
        } else {
            ""
        };
        runs(&console, &format!("usr={PARTUUID_B} fake=hang-b{word}"));
        assert_eq!(console.contains(armed), with_file, "{console}");
        assert_eq!(console.contains(last_words), !with_file, "{console}");
        // The next boot is the good slot's, and nothing is armed for it.
        let console = machine.power_on("\0");
        runs(&console, &format!("usr={PARTUUID_A} fake=hang-a"));
        assert!(!console.contains(armed), "{console}");
    }
}

#[test]
fn only_the_disk_it_came_from_counts() {
    let kernel = kernel();
    let files: &[(&str, &[u8])] = &[("vmlinuz-a", &kernel), ("vmlinuz-b", &kernel)];
    let mut machine = Machine::new(disk(512, good(1), trial(0, 0)), 512, files);
    // The same PARTUUIDs, and a slot that would come first.
    machine.attach(disk(512, good(1), trial(15, 1)), files);
    let other = machine.disk(1);
    runs(
        &machine.power_on("\0"),
        &format!("mount.usr=PARTUUID={PARTUUID_A}"),
    );
    assert!(machine.disk(1) == other, "the other disk was written");
}

#[test]
fn copies_that_differ_are_made_alike_on_a_disk_with_large_sectors() {
    let kernel = kernel();
    let mut bytes = disk(4096, trial(1, 1), trial(0, 0));
    let other = disk(4096, trial(0, 0), good(2));
    let backup = bytes.len() - 5 * 4096;
    bytes[backup..].copy_from_slice(&other[backup..]);
    let machine = Machine::new(bytes, 4096, &[("vmlinuz-a", &kernel)]);
    let console = machine.power_on("\0");
    assert!(
        console.contains("slot-loader: repaired the partition table"),
        "{console}"
    );
    runs(&console, &format!("mount.usr=PARTUUID={PARTUUID_A}"));
    assert_eq!(attributes(&machine.disk(0), 4096), [trial(1, 0), trial(0, 0)]);
}

#[test]
fn without_a_slot_the_firmware_gets_the_machine_back() {
    let machine = Machine::new(disk(512, trial(1, 0), trial(0, 1)), 512, &[]);
    let console = machine.power_on(GAVE_UP);
    assert!(console.contains("no slot can be booted"), "{console}");
}
