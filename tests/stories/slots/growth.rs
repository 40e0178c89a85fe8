//! Disks that are enlarged, by the tools that then enlarge ROOT: whatever we wrote before or after,
//! they find the table as one that only they have written, and leave what is ours in it.

mod cut;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cut::Cut;
use slots::Gpt;
use tempfile::TempDir;
use update_engine::disk::{SlotDisk, SlotName};

use crate::support::loops::{Loop, may_mount, run};

const USR: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
const ROOT: &str = "3884dd41-8582-4404-b9a8-e9b84f2df50e";
/// Number, label, type, where it starts and how long it is, in MiB.
const PARTITIONS: [(u32, &str, &str, u64, u64); 6] = [
    (1, "EFI-SYSTEM", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", 2, 1),
    (3, "USR-A", USR, 5, 1),
    (4, "USR-B", USR, 6, 1),
    (6, "OEM", "0fc63daf-8483-4772-8e79-3d69d8477de4", 3, 1),
    (7, "OEM-CONFIG", "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0", 4, 1),
    (9, "ROOT", ROOT, 7, 1),
];
const MIB: u64 = 1 << 20;
const LEN: u64 = 10 * MIB;
const GROWN: u64 = 16 * MIB;
/// A bit that is nobody's business of ours.
const FOREIGN: u64 = 1 << 2;

/// A disk of its own: a loop device where those can be had, an image elsewhere.
struct Disk0 {
    directory: TempDir,
    device: Option<Loop>,
    sector: u32,
}

/// Sizes of sectors that can be had here.
fn sectors() -> Vec<u32> {
    if may_mount() { vec![512, 4096] } else { vec![512] }
}

impl Disk0 {
    /// A is good and runs, B is as good.
    fn new(sector: u32) -> Self {
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("disk.img");
        File::create(&image).unwrap().set_len(LEN).unwrap();
        let device = may_mount().then(|| Loop::of_sectors(&image, sector));
        let disk = Self {
            directory,
            device,
            sector,
        };
        let per_mib = MIB / u64::from(sector);
        let mut arguments = vec!["--set-alignment=1".to_owned()];
        for (number, label, kind, start, len) in PARTITIONS {
            let (first, last) = (start * per_mib, (start + len) * per_mib - 1);
            arguments.push(format!("--new={number}:{first}:{last}"));
            arguments.push(format!("--typecode={number}:{kind}"));
            arguments.push(format!("--change-name={number}:{label}"));
            arguments.push(format!(
                "--partition-guid={number}:{number:08}-0000-4000-8000-000000000000"
            ));
        }
        for number in [3, 4] {
            for bit in [2, 48, 56] {
                arguments.push(format!("--attributes={number}:set:{bit}"));
            }
        }
        arguments.push("--disk-guid=11111111-2222-4333-8444-555555555555".into());
        let path = disk.path();
        arguments.push(path.to_str().unwrap().to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run("sgdisk", &arguments);
        disk
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("disk.img")
    }

    fn path(&self) -> PathBuf {
        self.device
            .as_ref()
            .map_or(self.image(), |device| device.device().into())
    }

    fn grow(&self) {
        self.resize(GROWN);
    }

    fn resize(&self, len: u64) {
        let image = File::options().write(true).open(self.image()).unwrap();
        image.set_len(len).unwrap();
        if let Some(device) = &self.device {
            device.has_another_size();
        }
    }

    fn slots(&self) -> SlotDisk {
        SlotDisk::open(&self.path(), SlotName::A).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn put(&self, bytes: &[u8]) {
        let disk = File::options().write(true).open(self.path()).unwrap();
        disk.write_all_at(bytes, 0).unwrap();
        disk.sync_all().unwrap();
    }

    /// Last sector and attribute word of a partition, as sgdisk shows them.
    fn partition(&self, number: u32) -> (u64, u64) {
        let said = run(
            "sgdisk",
            &["-i", &number.to_string(), self.path().to_str().unwrap()],
        );
        let field = |name: &str| {
            let line = said.lines().find(|line| line.starts_with(name));
            let line = line.unwrap_or_else(|| panic!("no {name}: {said}"));
            line[name.len()..].split_whitespace().next().unwrap().to_owned()
        };
        let attributes = u64::from_str_radix(&field("Attribute flags: "), 16).unwrap();
        (field("Last sector: ").parse().unwrap(), attributes)
    }

    /// Numbers, labels, identities and first sectors, as sfdisk shows them, and in its order.
    fn order(&self) -> Vec<String> {
        let said = run("sfdisk", &["--dump", self.path().to_str().unwrap()]);
        let lines = said.lines().filter_map(|line| line.split_once(" : "));
        let lines = lines.map(|(_, fields)| {
            let (fields, _) = fields.split_once(", attrs=").unwrap_or((fields, ""));
            let fields = fields.split(',').filter(|field| !field.contains("size="));
            fields.collect()
        });
        lines.collect()
    }

    fn read(&self) -> Gpt {
        Gpt::read(&mut Cut::after(&self.path(), self.sector, usize::MAX)).unwrap()
    }
}

/// What an update does to the table.
fn edit(disk: &Disk0) {
    disk.slots().require_running_good(SlotName::B).unwrap();
    disk.slots().make_unbootable(SlotName::B).unwrap();
    disk.slots().make_next(SlotName::B).unwrap();
}

const EDITED: [u64; 2] = [FOREIGN | 1 << 48 | 1 << 56, FOREIGN | 2 << 48 | 1 << 52];

/// Enlarges ROOT on the disk at a path; the directory is for what the tool wants to read.
type Tool = fn(&Path, &Path);

const TOOLS: [(&str, Tool); 5] = [
    ("systemd-repart", |disk, directory| {
        let definitions = directory.join("repart.d");
        fs::create_dir_all(&definitions).unwrap();
        let text = format!("[Partition]\nType={ROOT}\nLabel=ROOT\nSizeMinBytes=1M\n");
        fs::write(definitions.join("10-root.conf"), text).unwrap();
        let definitions = format!("--definitions={}", definitions.display());
        run(
            "systemd-repart",
            &["--dry-run=no", &definitions, disk.to_str().unwrap()],
        );
    }),
    ("sfdisk", |disk, _| {
        let disk = disk.to_str().unwrap();
        told(
            "sfdisk",
            &["--no-reread", "--no-tell-kernel", "-N", "9", disk],
            ", +\n",
        );
    }),
    ("growpart", |disk, _| {
        run("growpart", &[disk.to_str().unwrap(), "9"]);
    }),
    ("sgdisk", |disk, _| {
        let disk = disk.to_str().unwrap();
        run("sgdisk", &["--move-second-header", disk]);
        let said = run("sgdisk", &["-i", "9", disk]);
        let first = said
            .lines()
            .find_map(|line| line.strip_prefix("First sector: "))
            .unwrap();
        let first = first.split(' ').next().unwrap();
        let guid = "--partition-guid=9:00000009-0000-4000-8000-000000000000";
        let (new, kind) = (format!("--new=9:{first}:0"), format!("--typecode=9:{ROOT}"));
        run(
            "sgdisk",
            &[
                "--set-alignment=1",
                "--delete=9",
                &new,
                &kind,
                "--change-name=9:ROOT",
                guid,
                disk,
            ],
        );
    }),
    ("parted", |disk, _| {
        let disk = disk.to_str().unwrap();
        run("parted", &["--script", "--fix", disk, "print"]);
        run("parted", &["--script", disk, "resizepart", "9", "100%"]);
    }),
];

fn told(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
}

/// Where a tool lets ROOT end, on an enlarged disk that we never touched.
fn untouched(tool: Tool, sector: u32) -> u64 {
    let disk = Disk0::new(sector);
    disk.grow();
    tool(&disk.path(), disk.directory.path());
    let (end, _) = disk.partition(9);
    let added = (GROWN - LEN) / u64::from(sector);
    assert!(
        end > 8 * MIB / u64::from(sector) + added,
        "the tool didn't enlarge ROOT"
    );
    end
}

fn check(context: &str, disk: &Disk0, end: u64, order: &[String]) {
    assert_eq!(disk.partition(9).0, end, "{context}: ROOT");
    assert_eq!([3, 4].map(|number| disk.partition(number).1), EDITED, "{context}");
    assert_eq!(disk.order(), order, "{context}");
    assert!(disk.read().is_sound(), "{context}: {:?}", disk.read());
    let whole = run("sgdisk", &["--verify", disk.path().to_str().unwrap()]);
    assert!(whole.contains("No problems found"), "{context}: {whole}");
}

#[test]
fn every_tool_enlarges_root_after_our_edit_as_it_does_without_one() {
    for sector in sectors() {
        for (name, tool) in TOOLS {
            let context = format!("{name}, {sector}");
            let end = untouched(tool, sector);
            let disk = Disk0::new(sector);
            let order = disk.order();
            edit(&disk);
            disk.grow();
            edit(&disk);
            tool(&disk.path(), disk.directory.path());
            check(&context, &disk, end, &order);
        }
    }
}

#[test]
fn every_tool_enlarges_root_before_our_edit_and_after_it() {
    for sector in sectors() {
        for (name, tool) in TOOLS {
            let context = format!("{name}, {sector}");
            let disk = Disk0::new(sector);
            let order = disk.order();
            disk.grow();
            tool(&disk.path(), disk.directory.path());
            let (end, _) = disk.partition(9);
            edit(&disk);
            check(&context, &disk, end, &order);
        }
    }
}

#[test]
fn an_edit_on_an_enlarged_disk_changes_nothing_but_attributes_and_checksums() {
    for sector in sectors() {
        let disk = Disk0::new(sector);
        disk.grow();
        // Reserved bytes are ours to zero; sgdisk has zeroed them already.
        let mut expected = disk.bytes();
        edit(&disk);
        let found = disk.bytes();
        let len = usize::try_from(sector).unwrap();
        let backup = usize::try_from(LEN).unwrap() - len;
        for (header, entries) in [(len, 2 * len), (backup, backup - 128 * 128)] {
            let words = [entries + 2 * 128 + 48, entries + 3 * 128 + 48].map(|at| at..at + 8);
            let checksums = [16, 88].map(|at| header + at..header + at + 4);
            for range in words.into_iter().chain(checksums) {
                expected[range.clone()].copy_from_slice(&found[range]);
            }
        }
        assert!(found == expected, "{sector}");
    }
}
