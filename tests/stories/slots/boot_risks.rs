//! What could keep a node from booting one day is told before it does: in `status`, `why` and
//! `check --dry-run`.

use std::path::Path;

use update_engine::disk::{BootRisk, SlotDisk, SlotName};
use update_engine::host::Host;

use crate::support::node::client;
use crate::support::scene::Scene;
use test_support::fixtures;

#[path = "../../../boot/slots/tests/gpt/image.rs"]
#[allow(dead_code, reason = "other test programs use the rest")]
mod image;

const BY_GRUB: &str = "BOOT_IMAGE=/flatcar/vmlinuz-a rootflags=rw mount.usrflags=ro root=LABEL=ROOT";

/// A machine that is a directory: its command line, if it has one, and whether UEFI firmware
/// started it.
fn host(command_line: Option<&str>, firmware: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let make = |path: &str| std::fs::create_dir_all(directory.path().join(path)).unwrap();
    make("proc");
    make(if firmware == "uefi" {
        "sys/firmware/efi"
    } else {
        "sys/firmware"
    });
    if let Some(line) = command_line {
        std::fs::write(directory.path().join("proc/cmdline"), format!("{line}\n")).unwrap();
    }
    directory
}

fn risks(disk: &[u8], host: &Path) -> Vec<BootRisk> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, disk).unwrap();
    let disk = SlotDisk::open(file.path(), SlotName::A).unwrap();
    disk.boot_risks(&Host::new(host)).unwrap()
}

fn sound(sector: usize) -> Vec<u8> {
    image::build(sector, image::word(2, 0, 1), image::word(1, 0, 1))
}

#[test]
fn bios_and_grub_without_gpt_on_the_command_line_is_a_risk() {
    let stranded = vec![BootRisk::NoGptOption];
    let with = |more: &str| format!("{BY_GRUB} {more}");
    for (line, firmware, expected) in [
        (Some(BY_GRUB.to_owned()), "bios", stranded.clone()),
        (Some(with("gpt")), "bios", vec![]),
        (Some(with("gpt=1 nogpt agpt")), "bios", stranded.clone()),
        // Not the kernel's.
        (Some(with("-- gpt")), "bios", stranded),
        (Some(BY_GRUB.to_owned()), "uefi", vec![]),
        // Another loader: its writes are its own.
        (Some("root=LABEL=ROOT".to_owned()), "bios", vec![]),
        (None, "bios", vec![]),
    ] {
        let host = host(line.as_deref(), firmware);
        assert_eq!(risks(&sound(512), host.path()), expected, "{line:?}, {firmware}");
    }
}

/// What is told of `disk` where GRUB is the loader, and where it is another one.
fn by_loader(disk: &[u8]) -> [Vec<BootRisk>; 2] {
    [BY_GRUB, "root=LABEL=ROOT"].map(|line| risks(disk, host(Some(line), "uefi").path()))
}

/// Rows of `boot/slots/tests/gpt/states.txt` that end badly whatever was written last, and this
/// one.
#[test]
fn a_table_of_a_shape_that_a_reader_does_not_take_is_a_risk() {
    for sector in [512, 4096] {
        let long = u32::try_from(sector).unwrap();
        for ((header, count, size), by_grub, by_others) in [
            ((92, 128, 128), vec![], vec![]),
            ((92, 56, 128), vec![BootRisk::FewEntries(56 * 128)], vec![]),
            ((104, 128, 128), vec![BootRisk::LongHeader(104)], vec![]),
            ((sector, 128, 128), vec![BootRisk::LongHeader(long)], vec![]),
            (
                (92, 64, 256),
                vec![BootRisk::LongEntries(256)],
                vec![BootRisk::LongEntries(256)],
            ),
        ] {
            let shape = image::Shape { header, count, size };
            let disk = image::shaped(sector, shape, image::word(2, 0, 1), image::word(1, 0, 1));
            assert_eq!(by_loader(&disk), [by_grub, by_others], "{sector}: {shape:?}");
        }
    }
}

#[test]
fn a_disk_without_protective_mbr_is_a_risk() {
    for sector in [512, 4096] {
        for (what, at, byte) in [
            ("unsigned", 510, 0),
            ("without protective partition", 450, 0x83),
            ("protects from sector 2", 454, 2),
        ] {
            let mut disk = sound(sector);
            disk[at] = byte;
            let expected = vec![BootRisk::NoProtectiveMbr];
            assert_eq!(by_loader(&disk), [expected.clone(), expected], "{sector}: {what}");
        }
    }
}

#[test]
fn a_command_line_that_cannot_be_read_is_no_absent_one() {
    let host = host(None, "bios");
    std::fs::create_dir(host.path().join("proc/cmdline")).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &sound(512)).unwrap();
    let disk = SlotDisk::open(file.path(), SlotName::A).unwrap();
    let error = disk.boot_risks(&Host::new(host.path())).unwrap_err();
    assert!(error.to_string().contains("/proc/cmdline"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_risk_and_its_remedy_are_told_until_it_is_gone() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let told = async |scene: &Scene| {
        let dry_run = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
        let mut dry_run = tokio::process::Command::from(dry_run);
        let dry_run = dry_run
            .args(["check", "--dry-run", "--ask-server"])
            .output()
            .await
            .unwrap();
        let dry_run = String::from_utf8(dry_run.stdout).unwrap();
        let mut lines = dry_run
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let found = lines
            .find(|line| line.starts_with("partition table "))
            .expect(&dry_run);
        [
            found,
            client(&scene.bus, "status").await.0,
            client(&scene.bus, "why").await.0,
        ]
    };
    let remedy = "set linux_append=\"$linux_append gpt\" in the grub.cfg of the OEM partition";
    scene.node.write("/proc/cmdline", BY_GRUB.as_bytes());
    let daemon = scene.boot(SlotName::A).await;
    scene.overview(|overview| !overview.slots.is_empty()).await;
    let [dry_run, status, why] = told(&scene).await;
    assert!(
        dry_run.starts_with("partition table doubtful BIOS firmware, GRUB, and no gpt"),
        "{dry_run}"
    );
    for page in [dry_run, status, why] {
        assert!(page.contains(remedy), "{page}");
    }
    daemon.stop();

    scene
        .node
        .write("/proc/cmdline", format!("{BY_GRUB} gpt").as_bytes());
    let _daemon = scene.boot(SlotName::A).await;
    scene.overview(|overview| !overview.slots.is_empty()).await;
    let [dry_run, status, why] = told(&scene).await;
    assert_eq!(dry_run, "partition table ok every reader at boot accepts it");
    for page in [status, why] {
        assert!(!page.contains("May not boot"), "{page}");
    }
}
