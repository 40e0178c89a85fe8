//! A node: a directory that stands for `/`, a GPT disk image with Flatcar's layout, and the real daemon.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ring::digest::{SHA256, digest};
use tempfile::TempDir;
use update_engine::disk::{SlotDisk, SlotName};

use super::bus::PrivateBus;
use super::fixtures;
use super::loops::run;

const DAEMON: &str = env!("CARGO_BIN_EXE_update_engine");
const CLIENT: &str = env!("CARGO_BIN_EXE_update_engine_client");

/// Where the daemon looks for the image's public key.
pub const KEY: &str = "/usr/share/update_engine/update-payload-key.pub.pem";
/// The file that says that a reboot is due.
pub const MARKER: &str = "/var/run/update_engine_autoupdate_completed";

/// The partitions of Flatcar's layout: number, label, type, first sector, sectors, PARTUUID.
const PARTITIONS: [(u32, &str, &str, u64, u64, &str); 7] = [
    (
        1,
        "EFI-SYSTEM",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        4096,
        4096,
        "R",
    ),
    (
        2,
        "BIOS-BOOT",
        "21686148-6449-6e6f-744e-656564454649",
        8192,
        4096,
        "R",
    ),
    (
        3,
        "USR-A",
        USR,
        SLOT_A / 512,
        SLOT_LEN / 512,
        "7130c94a-213a-4e5a-8e26-6cce9662f132",
    ),
    (
        4,
        "USR-B",
        USR,
        SLOT_B / 512,
        SLOT_LEN / 512,
        "e03dd35c-7c2d-4a47-b3fe-27f15780a57c",
    ),
    (6, "OEM", "0fc63daf-8483-4772-8e79-3d69d8477de4", 90112, 2048, "R"),
    (
        7,
        "OEM-CONFIG",
        "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0",
        92160,
        2048,
        "R",
    ),
    (
        9,
        "ROOT",
        "3884dd41-8582-4404-b9a8-e9b84f2df50e",
        94208,
        2048,
        "R",
    ),
];
const USR: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
/// Bytes of a slot: the fixtures' images fit exactly.
pub const SLOT_LEN: u64 = 16 << 20;
const SLOT_A: u64 = 8 << 20;
const SLOT_B: u64 = 26 << 20;
const DISK_LEN: u64 = 48 << 20;

/// A node that runs the old image from slot A.
pub struct Node {
    directory: TempDir,
}

impl Node {
    /// Asks `server` for updates, trusts the fixtures' key.
    pub fn new(server: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let node = Self { directory };
        node.write(
            "/usr/share/flatcar/release",
            b"FLATCAR_RELEASE_VERSION=1.0.0\nFLATCAR_RELEASE_BOARD=amd64-usr\n",
        );
        node.configure(&format!("GROUP=stable\nSERVER={server}\n"));
        node.write("/etc/machine-id", b"3d1219c7c4c5404aaa1f6d2a48adfda4\n");
        node.write(
            KEY,
            &std::fs::read(fixtures::payload("test-key.pub.pem")).unwrap(),
        );
        node.write(
            "/boot/flatcar/vmlinuz-a",
            &std::fs::read(fixtures::payload("vmlinuz-old")).unwrap(),
        );
        node.make_disk();
        node
    }

    /// The directory that stands for `/`.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Where the absolute path lies.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root().join(absolute.trim_start_matches('/'))
    }

    pub fn write(&self, absolute: &str, contents: &[u8]) {
        let path = self.path(absolute);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    pub fn read(&self, absolute: &str) -> Vec<u8> {
        std::fs::read(self.path(absolute)).unwrap()
    }

    /// Replaces the operator's configuration.
    pub fn configure(&self, text: &str) {
        self.write("/etc/flatcar/update.conf", text.as_bytes());
    }

    /// One of the original's preferences.
    pub fn pref(&self, key: &str) -> Option<String> {
        std::fs::read_to_string(self.path(&format!("/var/lib/update_engine/prefs/{key}"))).ok()
    }

    pub fn disk(&self) -> PathBuf {
        self.directory.path().join("disk.img")
    }

    /// SHA-256 of a slot's bytes.
    pub fn slot_sha256(&self, slot: SlotName) -> String {
        sha256(&self.slot(slot))
    }

    /// A slot's bytes.
    pub fn slot(&self, slot: SlotName) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(SLOT_LEN).unwrap()];
        File::open(self.disk())
            .unwrap()
            .read_exact_at(&mut bytes, start(slot))
            .unwrap();
        bytes
    }

    /// The disk's bytes with slot B and both copies of the table blanked: what an update leaves alone.
    pub fn untouchable(&self) -> Vec<u8> {
        let mut bytes = std::fs::read(self.disk()).unwrap();
        let mut blank = |from: u64, len: u64| {
            bytes[usize::try_from(from).unwrap()..usize::try_from(from + len).unwrap()].fill(0);
        };
        blank(SLOT_B, SLOT_LEN);
        blank(0, 34 * 512);
        blank(DISK_LEN - 33 * 512, 33 * 512);
        bytes
    }

    /// Priority, tries and successful of a slot, by another implementation.
    pub fn attributes(&self, slot: SlotName) -> (u32, u32, u32) {
        let (disk, number) = (
            self.disk(),
            match slot {
                SlotName::A => "3",
                SlotName::B => "4",
            },
        );
        let ask = |what: &str| {
            let said = run("cgpt", &["show", "-i", number, what, disk.to_str().unwrap()]);
            said.trim().parse().unwrap()
        };
        (ask("-P"), ask("-T"), ask("-S"))
    }

    /// Fails unless `sgdisk` finds the table whole.
    pub fn assert_table_is_whole(&self) {
        let said = run("sgdisk", &["-v", self.disk().to_str().unwrap()]);
        assert!(said.contains("No problems found"), "{said}");
    }

    /// The slot that the loader picks, its try spent; what a reboot clears is gone.
    pub fn reboot(&self) -> SlotName {
        let _ = std::fs::remove_dir_all(self.path("/var/run"));
        let disk = SlotDisk::open(&self.disk(), SlotName::A).unwrap();
        let mut rows = disk.table().unwrap();
        rows.retain(|row| row.attributes.is_selectable());
        let best = rows.iter().map(|row| row.attributes.priority()).max().unwrap();
        let chosen = rows.iter().find(|row| row.attributes.priority() == best).unwrap();
        let tries = chosen.attributes.after_boot().tries().get();
        let changes: Vec<String> = (0..4)
            .map(|bit| {
                let change = if tries >> bit & 1 == 1 { "set" } else { "clear" };
                format!("-A{}:{change}:{}", chosen.partition, 52 + bit)
            })
            .collect();
        sgdisk(&self.disk(), &changes);
        chosen.slot
    }

    /// Starts the daemon, as if booted from `running`.
    pub fn start(&self, bus: &PrivateBus, running: SlotName) -> Daemon {
        let log = self.directory.path().join("daemon.log");
        let options = File::options().create(true).append(true).open(&log).unwrap();
        let mut process = bus.process(DAEMON);
        process
            .args(["-foreground", "-logtostderr", "--root"])
            .arg(self.root())
            .arg("--disk")
            .arg(self.disk())
            .args([
                "--running-slot",
                match running {
                    SlotName::A => "A",
                    SlotName::B => "B",
                },
            ])
            .stderr(options);
        for name in [
            "ALL_PROXY",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "all_proxy",
            "http_proxy",
            "https_proxy",
        ] {
            process.env_remove(name);
        }
        Daemon {
            child: process.spawn().unwrap(),
            log,
        }
    }

    fn make_disk(&self) {
        let disk = self.disk();
        File::create(&disk).unwrap().set_len(DISK_LEN).unwrap();
        let mut arguments: Vec<String> = ["-a", "1", "-o"].map(str::to_owned).into();
        for (number, label, kind, first, sectors, uuid) in PARTITIONS {
            let last = first + sectors - 1;
            arguments.extend([
                format!("-n{number}:{first}:{last}"),
                format!("-t{number}:{kind}"),
                format!("-c{number}:{label}"),
                format!("-u{number}:{uuid}"),
            ]);
        }
        // As images are shipped: slot A with priority 1, successful.
        arguments.extend(["-A3:set:48", "-A3:set:56"].map(str::to_owned));
        sgdisk(&disk, &arguments);
        let file = File::options().write(true).open(&disk).unwrap();
        file.write_all_at(&fixtures::image("old.img"), SLOT_A).unwrap();
    }
}

fn start(slot: SlotName) -> u64 {
    match slot {
        SlotName::A => SLOT_A,
        SlotName::B => SLOT_B,
    }
}

/// All changes at once: `sgdisk` waits a second after each writing.
fn sgdisk(disk: &Path, changes: &[String]) {
    let mut arguments: Vec<&str> = changes.iter().map(String::as_str).collect();
    arguments.push(disk.to_str().unwrap());
    run("sgdisk", &arguments);
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, bytes).as_ref() {
        use std::fmt::Write as _;
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// The running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// What it logged, together with those before it on this node.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to end and waits for that.
    pub fn stop(mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Runs the real client; gives its standard output and exit status.
pub async fn client(bus: &PrivateBus, flag: &str) -> (String, ExitStatus) {
    let mut process = bus.process(CLIENT);
    process.arg(flag).stderr(Stdio::null());
    let output = tokio::process::Command::from(process).output().await.unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status)
}
