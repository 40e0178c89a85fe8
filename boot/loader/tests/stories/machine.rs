//! A machine in QEMU with real firmware (OVMF) and the loader on its disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::image::{ESP_BYTES, ESP_START};

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/build");
/// Debian's `ovmf`: code, and the variables that a new machine starts with.
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// A boot takes seconds; this is for a host that is busy with others.
const DEADLINE: Duration = Duration::from_secs(180);

/// Files for an EFI system partition: path with slashes, contents.
pub(crate) type Files<'a> = &'a [(&'a str, &'a [u8])];

/// A machine that is switched off.
pub(crate) struct Machine {
    dir: TempDir,
    sector: u32,
    disks: usize,
}

impl Machine {
    /// With the loader and `files` on the EFI system partition of `disk`.
    pub(crate) fn new(disk: Vec<u8>, sector: u32, files: Files<'_>) -> Self {
        let mut machine = Self {
            dir: tempfile::tempdir().unwrap(),
            sector,
            disks: 0,
        };
        fs::copy(VARS, machine.path("vars.fd")).expect("OVMF (Debian's package ovmf)");
        let loader = fs::read(application(None)).unwrap();
        let boot = ("EFI/BOOT/BOOTX64.EFI", loader.as_slice());
        machine.attach(disk, &[&[boot], files].concat());
        machine
    }

    /// Adds a disk whose EFI system partition holds `files`. The firmware boots from the first
    /// disk.
    pub(crate) fn attach(&mut self, mut disk: Vec<u8>, files: Files<'_>) {
        let esp = esp(self.dir.path(), self.sector, files);
        disk[ESP_START..ESP_START + ESP_BYTES].copy_from_slice(&esp);
        fs::write(self.disk_path(self.disks), disk).unwrap();
        self.disks += 1;
    }

    /// Content of a disk.
    pub(crate) fn disk(&self, index: usize) -> Vec<u8> {
        fs::read(self.disk_path(index)).unwrap()
    }

    /// Switches it on, and waits until a kernel has switched it off or the console says `end`.
    /// Returns the console's text.
    pub(crate) fn power_on(&self, end: &str) -> String {
        let serial = self.path("serial");
        fs::write(&serial, "").unwrap();
        let mut qemu = self
            .qemu(&serial)
            .spawn()
            .expect("qemu-system-x86_64 (Debian's package qemu-system-x86)");
        let started = Instant::now();
        loop {
            let console = String::from_utf8_lossy(&fs::read(&serial).unwrap()).into_owned();
            let off = qemu.try_wait().unwrap().is_some();
            let late = started.elapsed() > DEADLINE;
            if off || late || console.contains(end) {
                let _ = qemu.kill();
                qemu.wait().unwrap();
                assert!(!late, "neither switched off nor said {end:?}:\n{console}");
                return String::from_utf8_lossy(&fs::read(&serial).unwrap()).into_owned();
            }
            // Another process at work: neither its end nor its file can be waited for together.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn qemu(&self, serial: &Path) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", "q35,accel=tcg", "-m", "256", "-no-reboot"])
            // The chipset's watchdog may reset; QEMU before 8.0 keeps it from that.
            .args(["-global", "ICH9-LPC.noreboot=false"])
            .args(["-display", "none", "-monitor", "none", "-nic", "none"])
            .args(["-serial", &format!("file:{}", serial.display())])
            .args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={CODE}")]);
        let vars = self.path("vars.fd");
        qemu.args(["-drive", &format!("if=pflash,format=raw,file={}", vars.display())]);
        for index in 0..self.disks {
            let (path, size) = (self.disk_path(index), self.sector);
            qemu.args([
                "-drive",
                &format!("if=none,id=disk{index},format=raw,file={}", path.display()),
            ]);
            qemu.args(["-device", &format!("virtio-blk-pci,drive=disk{index},bootindex={index},logical_block_size={size},physical_block_size=4096")]);
        }
        qemu.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        qemu
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn disk_path(&self, index: usize) -> PathBuf {
        self.path(&format!("disk{index}"))
    }
}

/// Builds the loader or one of its examples; cargo sees to it that this happens once.
pub(crate) fn application(example: Option<&str>) -> PathBuf {
    let built = Command::new(BUILD)
        .args(example)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "{BUILD} {example:?}: {}", built.status);
    String::from_utf8(built.stdout).unwrap().trim_end().into()
}

/// A FAT file system with `files`, by mtools.
fn esp(scratch: &Path, sector: u32, files: Files<'_>) -> Vec<u8> {
    let image = scratch.join("esp");
    fs::write(&image, vec![0; ESP_BYTES]).unwrap();
    // mtools' code of a sector size: 128 bytes times two to the power of it.
    let code = (sector / 128).trailing_zeros().to_string();
    let sectors = (u32::try_from(ESP_BYTES).unwrap() / sector).to_string();
    mtools(
        "mformat",
        &image,
        &["-S", &code, "-T", &sectors, "-h", "1", "-s", "1", "::"],
    );
    let mut made = Vec::new();
    for (path, contents) in files {
        for (end, _) in path.match_indices('/') {
            let directory = format!("::/{}", &path[..end]);
            if !made.contains(&directory) {
                mtools("mmd", &image, &[&directory]);
                made.push(directory);
            }
        }
        let source = scratch.join("file");
        fs::write(&source, contents).unwrap();
        let target = format!("::/{path}");
        mtools("mcopy", &image, &[source.to_str().unwrap(), &target]);
    }
    fs::read(image).unwrap()
}

fn mtools(tool: &str, image: &Path, arguments: &[&str]) {
    let output = Command::new(tool)
        .arg("-i")
        .arg(image)
        .args(arguments)
        .output()
        .expect("mtools (Debian's package mtools)");
    assert!(
        output.status.success(),
        "{tool} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
