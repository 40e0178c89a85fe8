//! When the loader arms the TCO timer, on a machine in memory.

use slot_loader::{ArmedTco, TcoError, TcoTimeout};
use slots::SlotAttributes;

use crate::chipset::FakeChipset;
use crate::fake::{DIGEST, Fake, Kernel, Outcome};
use crate::image::{PARTUUID_A, PARTUUID_B, disk, good, trial};

const A: &str = "\\flatcar\\vmlinuz-a";
const B: &str = "\\flatcar\\vmlinuz-b";
const FILE: &str = "\\flatcar\\vmlinuz-b.watchdog";
/// Ticks of a countdown of the file below.
const TICKS: u16 = 151;

fn handover() -> String {
    format!("KERNEL={DIGEST}\nITCO_TIMEOUT=180\nOPEN_TIMEOUT=240\nFED_BY=systemd\n")
}

/// A machine whose slots are these, with a handover file for B's kernel.
fn machine(a: SlotAttributes, b: SlotAttributes) -> Fake {
    let mut machine = Fake::new(disk(512, a, b), 512);
    machine.files.insert(FILE, handover().into_bytes());
    machine
}

fn armed(machine: &Fake) -> Option<u16> {
    machine.chipset.as_ref().unwrap().armed()
}

fn writes(machine: &Fake) -> u32 {
    machine.chipset.as_ref().unwrap().writes
}

fn runs_b_as_without(machine: &mut Fake) {
    assert_eq!(
        machine.power_on(),
        Outcome::Runs(B.into(), format!("usr={PARTUUID_B}"))
    );
}

#[test]
fn a_slot_on_trial_with_a_file_about_its_kernel_is_armed_and_the_next_boot_is_not() {
    let mut machine = machine(good(1), trial(2, 1));
    assert_eq!(
        machine.power_on(),
        Outcome::Runs(B.into(), format!("usr={PARTUUID_B} watchdog.open_timeout=240"))
    );
    assert_eq!(armed(&machine), Some(TICKS));
    let chipset = machine.chipset.as_ref().unwrap();
    assert_eq!(chipset.left, TICKS);
    // Nothing of an earlier run counts, and what isn't the timer's is as it was.
    assert_eq!(chipset.status, [0, 0]);
    assert_eq!((chipset.control, chipset.gcs), (1 << 12 | 1 << 9 | 1 << 8, 0x400));
    let said = "armed the TCO timer at I/O port 0x660: it resets in 181 s unless the kernel takes it over; \
                systemd has 240 s to open it then";
    assert!(machine.console.contains(said), "{}", machine.console);

    machine.chipset = Some(FakeChipset::q35());
    assert_eq!(
        machine.power_on(),
        Outcome::Runs(A.into(), format!("usr={PARTUUID_A}"))
    );
    assert_eq!((armed(&machine), writes(&machine)), (None, 0));
}

#[test]
fn nothing_is_armed_and_nothing_said_without_the_file_for_a_good_slot_or_on_another_processor() {
    let mut without = machine(good(1), trial(2, 1));
    without.files.clear();
    // One that was marked good although it has tries left.
    let tries_left = SlotAttributes::from_word(trial(2, 1).word() | 1 << 56);
    for mut machine in [without, machine(good(1), good(2)), machine(good(1), tries_left)] {
        runs_b_as_without(&mut machine);
        assert_eq!((armed(&machine), writes(&machine)), (None, 0));
        for word in ["watchdog", "TCO"] {
            assert!(!machine.console.contains(word), "{}", machine.console);
        }
    }
    let mut arm64 = machine(good(1), trial(2, 1));
    arm64.chipset = None;
    arm64.files.insert(FILE, b"\0".to_vec());
    runs_b_as_without(&mut arm64);
    assert!(!arm64.console.contains("watchdog"), "{}", arm64.console);
}

#[test]
fn nothing_is_armed_where_there_is_nothing_to_go_back_to() {
    let nowhere = "there is nothing to go back to";
    for a in [trial(1, 1), trial(1, 0), good(0)] {
        let mut machine = machine(a, trial(2, 1));
        runs_b_as_without(&mut machine);
        assert_eq!((armed(&machine), writes(&machine)), (None, 0));
        let said = format!("no watchdog is armed: USR-A is not good, or was passed over: {nowhere}");
        assert!(machine.console.contains(&said), "{}", machine.console);
    }
    let mut lost = machine(good(1), trial(2, 1));
    lost.kernels.remove(A);
    runs_b_as_without(&mut lost);
    assert_eq!(writes(&lost), 0);
    let said = format!("no watchdog is armed: USR-A has no kernel: {nowhere}");
    assert!(lost.console.contains(&said), "{}", lost.console);

    // It comes first, and can't be started.
    let mut passed_over = machine(good(3), trial(2, 1));
    passed_over.kernels.insert(A, Kernel::Refused);
    runs_b_as_without(&mut passed_over);
    assert_eq!(writes(&passed_over), 0);
    let said = format!("no watchdog is armed: USR-A is not good, or was passed over: {nowhere}");
    assert!(passed_over.console.contains(&said), "{}", passed_over.console);

    let mut unreadable = machine(good(1), trial(2, 1));
    unreadable.kernels.insert(A, Kernel::Unreadable);
    runs_b_as_without(&mut unreadable);
    assert_eq!(writes(&unreadable), 0);
    let said = format!("no watchdog is armed: {A} cannot be read: bad sector");
    assert!(unreadable.console.contains(&said), "{}", unreadable.console);
}

#[test]
fn a_file_about_another_kernel_or_that_is_none_arms_nothing() {
    let other = handover().replace("6b6b", "6b6c");
    let cases = [
        (
            other.into_bytes(),
            "is about another kernel: this one's SHA-256 is 6b6b",
        ),
        (
            b"KERNEL\n".to_vec(),
            "is no handover file: line 1 sets nothing that is known: \"KERNEL\"",
        ),
        (vec![b'#'; 5000], "is no handover file: longer than 1024 bytes"),
        (
            vec![0; 8],
            "is no handover file: byte 0x00 at offset 0 is no ASCII text",
        ),
        (Vec::new(), "is no handover file: nothing sets KERNEL"),
    ];
    for (bytes, said) in cases {
        let mut machine = machine(good(1), trial(2, 1));
        machine.files.insert(FILE, bytes);
        runs_b_as_without(&mut machine);
        assert_eq!((armed(&machine), writes(&machine)), (None, 0));
        let said = format!("no watchdog is armed: {FILE} {said}");
        assert!(machine.console.contains(&said), "{}", machine.console);
    }
}

#[test]
fn a_command_line_without_room_for_the_open_time_out_arms_nothing() {
    let mut machine = machine(good(1), trial(2, 1));
    let fill = "x".repeat(2047 - " watchdog.open_timeout=240".len() - PARTUUID_B.len());
    machine.command_line = Some(format!("{fill}@PARTUUID@").into_bytes());
    assert!(matches!(machine.power_on(), Outcome::Runs(_, line) if line.len() == 2047));
    assert!(armed(&machine).is_some());

    let mut crammed = self::machine(good(1), trial(2, 1));
    crammed.command_line = Some(format!("{fill}x@PARTUUID@").into_bytes());
    assert!(matches!(crammed.power_on(), Outcome::Runs(_, line) if !line.contains("watchdog")));
    assert_eq!(writes(&crammed), 0);
    assert!(
        crammed
            .console
            .contains("has no room for watchdog.open_timeout=240")
    );
}

#[test]
fn a_kernel_that_gives_up_or_is_not_loaded_leaves_the_good_slot_nothing_armed() {
    for kernel in [Kernel::GivesUp, Kernel::Refused] {
        let mut machine = machine(good(1), trial(2, 1));
        machine.kernels.insert(B, kernel);
        let before = machine.chipset.as_ref().unwrap().gcs;
        assert_eq!(
            machine.power_on(),
            Outcome::Runs(A.into(), format!("usr={PARTUUID_A}"))
        );
        assert!(
            machine.console.contains("armed the TCO timer"),
            "{}",
            machine.console
        );
        assert!(machine.console.contains("the TCO timer is halted again"));
        let chipset = machine.chipset.as_ref().unwrap();
        assert_eq!((chipset.armed(), chipset.gcs), (None, before));
        assert_ne!(chipset.control & 1 << 11, 0);
    }
}

#[test]
fn a_chipset_that_is_not_known_or_does_not_take_it_is_named_and_the_slot_boots_without() {
    type Change = fn(&mut FakeChipset);
    let cases: [(Change, &str); 9] = [
        (|chipset| chipset.identity = u32::MAX, "00:1f.0 is ffff:ffff"),
        (
            |chipset| chipset.identity = 0xa143_8086,
            "00:1f.0 is 8086:a143, no LPC bridge whose TCO timer is known",
        ),
        (|chipset| chipset.identity = 0x2918_1af4, "00:1f.0 is 1af4:2918"),
        (|chipset| chipset.pm_base = 1, "PMBASE is 0x1,"),
        (|chipset| chipset.pm_base = 0x1_0601, "PMBASE is 0x10601,"),
        (|chipset| chipset.acpi_control = 0, "ACPI_CNTL is 0x0:"),
        (
            |chipset| chipset.root_complex_base = 0xfed1_c000,
            "RCBA is 0xfed1c000,",
        ),
        (
            |chipset| chipset.root_complex_base = 0x0010_0001,
            "RCBA is 0x100001,",
        ),
        (
            |chipset| chipset.strapped = true,
            "GCS stays 0x420: a strap on the board (NO_REBOOT)",
        ),
    ];
    for (change, said) in cases {
        let mut machine = machine(good(1), trial(2, 1));
        change(machine.chipset.as_mut().unwrap());
        runs_b_as_without(&mut machine);
        assert_eq!(armed(&machine), None);
        let line = machine
            .console
            .lines()
            .find(|line| line.contains("no watchdog is armed: "));
        assert!(
            line.is_some_and(|line| line.contains(said)),
            "{}",
            machine.console
        );
    }
}

#[test]
fn a_timer_that_does_not_keep_its_registers_is_not_taken_for_armed() {
    let mut chipset = FakeChipset::q35();
    chipset.dead = true;
    let timeout = TcoTimeout::from_seconds(60).unwrap();
    let error = ArmedTco::arm(&mut chipset, timeout).unwrap_err();
    assert!(
        matches!(
            error,
            TcoError::NotKept {
                register: "TCO_TMR",
                written: 51,
                found: 4
            }
        ),
        "{error}"
    );
    // It runs as it did, and resets nothing.
    assert_eq!(chipset.armed(), None);
}
