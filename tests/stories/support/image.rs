//! A disk image with Flatcar's layout, made and judged by `cgpt` and `sgdisk`, not by our own code.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use update_engine::disk::{SlotDisk, SlotName};

use super::loops::run;

const USR: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";

/// Number, label, type, first sector, sectors; after each other, with a gap at the end.
const PARTITIONS: [(&str, &str, &str, u64, u64); 5] = [
    (
        "1",
        "EFI-SYSTEM",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        4096,
        4096,
    ),
    (
        "2",
        "BIOS-BOOT",
        "21686148-6449-6e6f-744e-656564454649",
        8192,
        4096,
    ),
    ("6", "OEM", "0fc63daf-8483-4772-8e79-3d69d8477de4", 16384, 2048),
    (
        "7",
        "OEM-CONFIG",
        "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0",
        18432,
        2048,
    ),
    ("9", "ROOT", "3884dd41-8582-4404-b9a8-e9b84f2df50e", 20480, 2048),
];

/// Priority, tries, successful.
pub type Attributes = (u32, u32, u32);

/// A disk whose slot A runs and whose slot B is a fallback that boots.
pub struct Image {
    path: PathBuf,
    slot_len: u64,
}

impl Image {
    /// Slot A good and preferred, slot B good too. Both are empty, and `slot_len` bytes long.
    pub fn new(path: PathBuf, slot_len: u64) -> Self {
        let image = Self { path, slot_len };
        let disk = image.path.to_str().unwrap();
        let file = File::create(&image.path).unwrap();
        file.set_len(image.start(SlotName::B) + slot_len + (1 << 20))
            .unwrap();
        run("cgpt", &["create", disk]);
        for (number, label, kind, first, sectors) in PARTITIONS {
            let (first, sectors) = (first.to_string(), sectors.to_string());
            run(
                "cgpt",
                &[
                    "add", "-i", number, "-l", label, "-t", kind, "-b", &first, "-s", &sectors, disk,
                ],
            );
        }
        image.add_slot(SlotName::A, "7130c94a-213a-4e5a-8e26-6cce9662f132");
        image.add_slot(SlotName::B, "e03dd35c-7c2d-4a47-b3fe-27f15780a57c");
        run("cgpt", &["boot", "-p", disk]);
        image.set_attributes(SlotName::A, (2, 0, 1));
        image.set_attributes(SlotName::B, (1, 0, 1));
        image
    }

    fn add_slot(&self, slot: SlotName, uuid: &str) {
        let (first, sectors) = (self.start(slot) / 512, self.slot_len / 512);
        let (first, sectors) = (first.to_string(), sectors.to_string());
        let (disk, label) = (self.path.to_str().unwrap(), slot.to_string());
        run(
            "cgpt",
            &[
                "add",
                "-i",
                number(slot),
                "-l",
                &label,
                "-t",
                USR,
                "-u",
                uuid,
                "-b",
                &first,
                "-s",
                &sectors,
                disk,
            ],
        );
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Priority, tries and successful of a slot.
    pub fn attributes(&self, slot: SlotName) -> Attributes {
        let ask = |what: &str| {
            let said = run(
                "cgpt",
                &["show", "-i", number(slot), what, self.path.to_str().unwrap()],
            );
            said.trim().parse().unwrap()
        };
        (ask("-P"), ask("-T"), ask("-S"))
    }

    pub fn set_attributes(&self, slot: SlotName, (priority, tries, successful): Attributes) {
        let [priority, tries, successful] = [priority, tries, successful].map(|n| n.to_string());
        let disk = self.path.to_str().unwrap();
        run(
            "cgpt",
            &[
                "add",
                "-i",
                number(slot),
                "-P",
                &priority,
                "-T",
                &tries,
                "-S",
                &successful,
                disk,
            ],
        );
    }

    /// Fails unless `sgdisk` finds the table whole.
    pub fn assert_table_is_whole(&self) {
        let said = run("sgdisk", &["-v", self.path.to_str().unwrap()]);
        assert!(said.contains("No problems found"), "{said}");
    }

    /// A slot's bytes.
    pub fn slot(&self, slot: SlotName) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.slot_len).unwrap()];
        let file = File::open(&self.path).unwrap();
        file.read_exact_at(&mut bytes, self.start(slot)).unwrap();
        bytes
    }

    /// Writes `bytes` at the slot's offset `at`.
    pub fn write(&self, slot: SlotName, at: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(&self.path).unwrap();
        file.write_all_at(bytes, self.start(slot) + at).unwrap();
    }

    /// The disk's bytes without slot B and without both copies of the table: what no update
    /// changes.
    pub fn rest(&self) -> Vec<u8> {
        let mut bytes = std::fs::read(&self.path).unwrap();
        let end = bytes.len() as u64;
        let slot = self.start(SlotName::B);
        for (from, to) in [(0, 34 * 512), (slot, slot + self.slot_len), (end - 33 * 512, end)] {
            bytes[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()].fill(0);
        }
        bytes
    }

    /// Makes the next reader read from the medium.
    pub fn drop_from_cache(&self) {
        File::open(&self.path).unwrap().sync_all().unwrap();
        let path = format!("if={}", self.path.display());
        run("dd", &[&path, "iflag=nocache", "count=0"]);
    }

    /// Bytes of the disk in the page cache; none where files live nowhere else.
    pub fn cached(&self) -> u64 {
        let path = self.path.to_str().unwrap();
        if run("stat", &["-f", "-c", "%T", path]).trim() == "tmpfs" {
            return 0;
        }
        let said = run("fincore", &["--bytes", "--noheadings", "--output", "RES", path]);
        said.trim().parse().unwrap()
    }

    /// The slot that the loader picks; its try is spent.
    pub fn boot(&self) -> SlotName {
        let disk = SlotDisk::open(&self.path, SlotName::A).unwrap();
        let rows = disk.table().unwrap();
        let best = rows
            .iter()
            .filter(|row| row.attributes.is_selectable())
            // The first wins among equals.
            .rev()
            .max_by_key(|row| row.attributes.priority())
            .expect("one slot always boots");
        let after = best.attributes.after_boot();
        let attributes = (
            after.priority().get().into(),
            after.tries().get().into(),
            after.is_successful().into(),
        );
        self.set_attributes(best.slot, attributes);
        best.slot
    }

    fn start(&self, slot: SlotName) -> u64 {
        match slot {
            SlotName::A => 16 << 20,
            // Not right after A: an overrun shows.
            SlotName::B => (16 << 20) + self.slot_len + (1 << 20),
        }
    }
}

const fn number(slot: SlotName) -> &'static str {
    match slot {
        SlotName::A => "3",
        SlotName::B => "4",
    }
}
