//! QEMU's command line.

use std::fs::File;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Hardware;
use crate::architecture::Architecture;
use crate::command::{missing, tool};
use crate::disk::Disk;
use crate::loader::Start;

/// Time for QEMU to open its sockets, which it does first.
const STARTING: Duration = Duration::from_secs(60);

/// A socket to which QEMU will connect.
pub(super) struct Listening(Receiver<std::io::Result<UnixStream>>);

/// Listens at `path`.
pub(super) fn listen(path: &Path) -> Result<Listening> {
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        // Nobody listens any more if the machine could not be started.
        let _ = sender.send(listener.accept().map(|(stream, _)| stream));
    });
    Ok(Listening(receiver))
}

impl Listening {
    /// The connection.
    pub(super) fn connected(self) -> Result<UnixStream> {
        Ok(self.0.recv_timeout(STARTING).context("nobody came")??)
    }
}

/// Starts QEMU.
pub(super) fn spawn(
    start: &Start,
    disk: &Disk,
    hardware: &Hardware,
    monitor: &Path,
    shell: &Path,
) -> Result<Child> {
    let (program, machine) = hardware.architecture.qemu();
    let mut qemu = tool(program);
    qemu.args([
        "-machine",
        machine,
        "-m",
        "768",
        "-smp",
        "1",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
    ])
    .args(accelerator(hardware))
    .args(["-serial", "stdio", "-qmp"])
    .arg(format!("unix:{}", monitor.display()))
    .args(["-device", "virtio-serial-pci", "-chardev"])
    .arg(format!("socket,id=shell,path={}", shell.display()))
    .args(["-device", "virtserialport,chardev=shell,name=vm.shell"])
    .args(drive(disk))
    // The guest has an address but no route: it reaches the runner's loopback as 10.0.2.2, nothing
    // else.
    .args([
        "-netdev",
        "user,id=net,net=10.0.2.0/24",
        "-device",
        "virtio-net-pci,netdev=net,romfile=",
    ]);
    if hardware.watchdog {
        qemu.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
    }
    if hardware.chipset_watchdog {
        // QEMU before 8.0 straps it off.
        qemu.args(["-global", "ICH9-LPC.noreboot=false", "-action", "watchdog=reset"]);
    }
    match start {
        Start::Kernel {
            kernel,
            initrd,
            command_line,
        } => qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).args([
            "-append",
            command_line,
            "-device",
            "virtio-blk-pci,drive=disk",
        ]),
        Start::Firmware { code, variables } => qemu
            .arg("-drive")
            .arg(format!(
                "if=pflash,format=raw,readonly=on,file={}",
                code.display()
            ))
            .arg("-drive")
            .arg(format!("if=pflash,format=raw,file={}", variables.display()))
            .args(["-device", "virtio-blk-pci,drive=disk,bootindex=0"]),
    };
    qemu.stdout(Stdio::piped()).stderr(Stdio::inherit());
    qemu.spawn().map_err(|error| missing(qemu.get_program(), error))
}

/// The disk as the block device called `disk`, with a recorder in between if it has one.
///
/// QEMU merges writes of a guest up to the 1,024 pieces of memory that the host's kernel takes at once. The recorder adds
/// two of its own to what it logs and refuses the sum, and the guest gets an I/O error: nothing may be merged before it.
fn drive(disk: &Disk) -> Vec<String> {
    let image = disk.path().display();
    let Some(recording) = disk.recording() else {
        return vec![
            "-drive".into(),
            format!("file={image},format=raw,if=none,id=disk"),
        ];
    };
    let nodes = [
        format!("driver=raw,node-name=image,file.driver=file,file.filename={image}"),
        format!("driver=file,node-name=recording,filename={}", recording.display()),
        "driver=blklogwrites,node-name=disk,file=image,log=recording,log-sector-size=512".into(),
    ];
    let unmerged = ["-global".into(), "virtio-blk-device.request-merging=off".into()];
    let nodes = nodes.into_iter().flat_map(|node| ["-blockdev".into(), node]);
    unmerged.into_iter().chain(nodes).collect()
}

/// Virtualisation where it works: the device may exist on a host whose processor can't.
fn accelerator(hardware: &Hardware) -> Vec<&'static str> {
    let architecture = hardware.architecture;
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let able = processor
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm");
    let is_hosts = architecture == Architecture::Amd64;
    if able && is_hosts && File::options().read(true).write(true).open("/dev/kvm").is_ok() {
        // A host that lets guests run on its processor lets them run in time.
        vec!["-accel", "kvm", "-cpu", "host"]
    } else {
        // Plain: each feature of a processor that has to be emulated costs time. Boots take a third
        // longer with `max`.
        let mut emulated = vec!["-accel", "tcg", "-cpu", architecture.processor()];
        if hardware.own_clock {
            // 2 ns for each instruction.
            emulated.extend(["-icount", "shift=1"]);
        }
        emulated
    }
}
