//! Disk of a machine: a raw image with Flatcar's partitions, made and read from outside.

pub(crate) mod esp;
pub(crate) mod gpt;
pub(crate) mod writes;

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::{run, tool};
use crate::guest::{Release, Workshop};

pub(crate) const SECTOR: u64 = 512;
const MIB: u64 = 2048;
const DISK_SECTORS: u64 = 524 * MIB;
const USR: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

struct Partition {
    number: u32,
    label: &'static str,
    kind: &'static str,
    /// PARTUUID; `R` for a random one.
    identity: &'static str,
    /// First sector.
    start: u64,
    /// Length, in sectors.
    len: u64,
}

const fn partition(number: u32, label: &'static str, kind: &'static str, start: u64, len: u64) -> Partition {
    let identity = match number {
        3 => "7130c94a-213a-4e5a-8e26-6cce9662f132",
        4 => "e03dd35c-7c2d-4a47-b3fe-27f15780a57c",
        _ => "R",
    };
    Partition {
        number,
        label,
        kind,
        identity,
        start,
        len,
    }
}

/// Flatcar's numbers, labels, types and identifiers; smaller sizes.
const PARTITIONS: [Partition; 7] = [
    partition(
        1,
        "EFI-SYSTEM",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        4 * MIB,
        96 * MIB,
    ),
    partition(
        2,
        "BIOS-BOOT",
        "21686148-6449-6e6f-744e-656564454649",
        100 * MIB,
        2 * MIB,
    ),
    partition(3, "USR-A", USR, 102 * MIB, 128 * MIB),
    partition(4, "USR-B", USR, 230 * MIB, 128 * MIB),
    partition(6, "OEM", LINUX, 358 * MIB, MIB),
    partition(
        7,
        "OEM-CONFIG",
        "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0",
        359 * MIB,
        MIB,
    ),
    partition(
        9,
        "ROOT",
        "3884dd41-8582-4404-b9a8-e9b84f2df50e",
        360 * MIB,
        160 * MIB,
    ),
];

/// One of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Partition 3.
    A,
    /// Partition 4.
    B,
}

impl Slot {
    /// Number of its partition.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::A => 3,
            Self::B => 4,
        }
    }

    /// The PARTUUID that every node's slot of this name has.
    pub(crate) fn identity(self) -> &'static str {
        place(self.number()).identity
    }

    /// Its sectors.
    pub(crate) fn sectors(self) -> Range<u64> {
        let place = place(self.number());
        place.start..place.start + place.len
    }

    /// The other slot.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Path of its kernel in the EFI partition.
    pub(crate) fn kernel(self) -> &'static str {
        match self {
            Self::A => "flatcar/vmlinuz-a",
            Self::B => "flatcar/vmlinuz-b",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(place(self.number()).label)
    }
}

/// Attributes of a slot, as `cgpt` reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Priority: 0 is never booted, the highest goes first.
    pub(crate) priority: u8,
    /// Boots left for a slot on trial.
    pub(crate) tries: u8,
    /// Marked good.
    pub(crate) successful: bool,
}

impl Standing {
    /// Good, and behind an update.
    pub(crate) const GOOD: Self = Self::new(1, 0, true);
    /// A slot that no loader takes.
    pub(crate) const UNBOOTABLE: Self = Self::new(0, 0, false);
    /// An update that waits for its boot.
    pub(crate) const WAITING: Self = Self::new(2, 1, false);
    /// An update whose only try is spent: it runs, or has failed.
    pub(crate) const TRIED: Self = Self::new(2, 0, false);
    /// An update that was marked good.
    pub(crate) const KEPT: Self = Self::new(2, 0, true);

    pub(crate) const fn new(priority: u8, tries: u8, successful: bool) -> Self {
        Self {
            priority,
            tries,
            successful,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            priority,
            tries,
            successful,
        } = self;
        write!(
            f,
            "priority {priority}, tries {tries}, successful {}",
            u8::from(*successful)
        )
    }
}

/// The image file.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    path: PathBuf,
    recording: Option<PathBuf>,
    guarded: bool,
}

impl Disk {
    /// A node as it leaves the factory: `release` in slot A, good; nothing in slot B.
    pub(crate) fn install(path: PathBuf, workshop: &Workshop, release: &Release) -> Result<Self> {
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        file.set_len(DISK_SECTORS * SECTOR)?;
        let disk = Self {
            path,
            recording: None,
            guarded: release.root_hash.is_some(),
        };
        disk.partition()?;
        disk.put(9, &workshop.root_image)?;
        disk.put(Slot::A.number(), &release.image)?;
        disk.make_esp()?;
        disk.esp_write(Slot::A.kernel(), &release.kernel)?;
        gpt::set_standing(&disk.path, Slot::A, Standing::GOOD)?;
        Ok(disk)
    }

    /// Path of the image file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its slots are to be mounted through dm-verity.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// Path at which a machine records its writes.
    pub(crate) fn recording(&self) -> Option<&Path> {
        self.recording.as_deref()
    }

    /// The same disk; a machine that uses it records its writes at `path`.
    pub(crate) fn recorded(&self, path: &Path) -> Result<Self> {
        File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self {
            path: self.path.clone(),
            recording: Some(path.to_owned()),
            guarded: self.guarded,
        })
    }

    /// A copy of the disk as it is now.
    pub(crate) fn copy(&self, path: &Path) -> Result<Self> {
        run(tool("cp").arg("--sparse=always").arg(&self.path).arg(path))?;
        Ok(Self {
            path: path.to_owned(),
            recording: None,
            guarded: self.guarded,
        })
    }

    /// Sectors that decide about the next boot: both partition tables and the EFI partition.
    pub(crate) fn vital(&self) -> Result<[Range<u64>; 3]> {
        let disk = File::open(&self.path)?;
        let (_, backup) = gpt::sectors(&disk, gpt::Which::Backup)?;
        let esp = place(1);
        Ok([0..34, backup..DISK_SECTORS, esp.start..esp.start + esp.len])
    }

    /// Attributes of `slot` by `cgpt`, an independent reader of partition tables.
    pub(crate) fn standing(&self, slot: Slot) -> Result<Standing> {
        let show = |field: &str| -> Result<u8> {
            let mut show = tool("cgpt");
            show.args(["show", "-i", &slot.number().to_string(), field])
                .arg(&self.path);
            let printed = run(&mut show)?;
            printed
                .trim()
                .parse()
                .with_context(|| format!("cgpt show {field} printed {printed:?}"))
        };
        Ok(Standing {
            priority: show("-P")?,
            tries: show("-T")?,
            successful: show("-S")? == 1,
        })
    }

    fn partition(&self) -> Result<()> {
        let mut make = tool("sgdisk");
        make.arg("--set-alignment=1");
        for part in &PARTITIONS {
            let end = part.start + part.len - 1;
            make.arg(format!("--new={}:{}:{end}", part.number, part.start))
                .arg(format!("--typecode={}:{}", part.number, part.kind))
                .arg(format!("--change-name={}:{}", part.number, part.label))
                .arg(format!("--partition-guid={}:{}", part.number, part.identity));
        }
        run(make.arg(&self.path)).map(drop)
    }

    /// Copies `image` to the start of a partition; zeros are left out, the file is full of them.
    fn put(&self, number: u32, image: &Path) -> Result<()> {
        let mut from = File::open(image).with_context(|| format!("cannot read {}", image.display()))?;
        let mut to = File::options().write(true).open(&self.path)?;
        let (mut offset, mut buffer) = (place(number).start * SECTOR, vec![0; 1 << 20]);
        loop {
            let len = from.read(&mut buffer)?;
            if len == 0 {
                return Ok(());
            }
            let chunk = &buffer[..len];
            if chunk.iter().any(|&byte| byte != 0) {
                to.seek(SeekFrom::Start(offset))?;
                to.write_all(chunk)?;
            }
            offset += u64::try_from(len)?;
        }
    }
}

/// The partition with this number; only numbers of the layout are asked for.
fn place(number: u32) -> &'static Partition {
    PARTITIONS
        .iter()
        .find(|partition| partition.number == number)
        .unwrap_or(&PARTITIONS[0])
}
