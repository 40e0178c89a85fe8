//! `DiskError`: failures of disk, partition table and slots.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use slots::{GptError, SlotAttributes, WhichCopy};

use super::{Holder, LayoutError, SlotName};

/// Why the disk or one of its slots can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The running slot can't be told.
    #[error("cannot tell which slot this system runs from")]
    Discovery(#[from] DiscoveryError),
    /// Opening failed.
    #[error("cannot open {}", path.display())]
    Open {
        /// Disk, partition or image.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// Somebody else has the slot: it is mounted, or another engine writes it.
    #[error("{slot} ({}) is in use", path.display())]
    Busy {
        /// The slot concerned.
        slot: SlotName,
        /// Its device or image.
        path: PathBuf,
    },
    /// Another program edits the partition table, and goes on doing so.
    #[error("{holder} has {} locked for more than {} s", disk.display(), waited.as_secs())]
    Locked {
        /// The disk.
        disk: PathBuf,
        /// Whoever has the lock.
        holder: Holder,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Whether another program edits the partition table can't be told.
    #[error("{} cannot be locked", disk.display())]
    Unlockable {
        /// The disk.
        disk: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// The partition table can't be read or written.
    #[error("partition table of {}", disk.display())]
    Gpt {
        /// The disk.
        disk: PathBuf,
        /// The error of the table.
        source: GptError<io::Error>,
    },
    /// The table doesn't hold two usable slots.
    #[error("slots on {}", disk.display())]
    Layout {
        /// The disk.
        disk: PathBuf,
        /// The error of the layout.
        source: LayoutError,
    },
    /// A slot moved since the disk was opened.
    #[error("{slot} on {} is no longer the partition it was", disk.display())]
    Changed {
        /// The slot concerned.
        slot: SlotName,
        /// The disk.
        disk: PathBuf,
    },
    /// The kernel's idea of the partition isn't the table's.
    #[error("{} has {kernel} bytes, its entry in the table says {table}", path.display())]
    Stale {
        /// The partition's device.
        path: PathBuf,
        /// Size of the device.
        kernel: u64,
        /// Size in the table.
        table: u64,
    },
    /// The running slot was named as target.
    #[error("{0} is running: it is never a target")]
    Running(SlotName),
    /// The running slot could not be fallen back on.
    #[error("the running slot {slot} is not marked good in the {copy} partition table ({attributes})")]
    NotGood {
        /// The running slot.
        slot: SlotName,
        /// The copy that says so.
        copy: WhichCopy,
        /// The attributes found in the table.
        attributes: SlotAttributes,
    },
    /// A slot that is not to boot could.
    #[error("{slot} could boot, says the {copy} partition table ({attributes})")]
    Bootable {
        /// The slot that could boot.
        slot: SlotName,
        /// The copy that says so.
        copy: WhichCopy,
        /// What stands there.
        attributes: SlotAttributes,
    },
    /// What tells everybody that the slot boots next stands, so that the slot was left as it is.
    #[error("cannot withdraw that {slot} boots next")]
    Announced {
        /// The slot that was to become unbootable.
        slot: SlotName,
        /// The kernel's words.
        source: io::Error,
    },
    /// A partition was named that is no slot.
    #[error("{} is no slot", path.display())]
    NoSlot {
        /// Its device.
        path: PathBuf,
    },
    /// The slot could not be made read-only, or no loop device set up for it.
    #[error("cannot make {} read-only", path.display())]
    Seal {
        /// The partition's device or the image.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// Programs can't be given a dummy disk in its place.
    #[error("cannot make a dummy disk in place of {}", disk.display())]
    DummyDisk {
        /// Device of the slots' disk.
        disk: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
}

/// Why the running slot can't be told from the mount of `/usr`.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// A file of `/proc` or `/sys` can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// A line of the mount table isn't as the kernel writes them.
    #[error("cannot understand line {number} of the mount table: {line:?}")]
    MountLine {
        /// Number of the line, from 1.
        number: usize,
        /// Text of the line.
        line: String,
    },
    /// Neither `/usr` nor `/` is in the mount table.
    #[error("nothing is mounted on /usr or /")]
    NotMounted,
    /// What an overlay on `/usr` lies on isn't in the mount table.
    #[error("mount {mount} on /usr lies on mount {parent}, which is not in the mount table")]
    NoParent {
        /// The overlay.
        mount: u64,
        /// Id of the mount that it lies on.
        parent: u64,
    },
    /// Different partitions are mounted at one place.
    #[error("both {first} and {second} are mounted on {point}: nobody can tell which of them runs")]
    Several {
        /// The mount point.
        point: &'static str,
        /// Source of one mount.
        first: String,
        /// Source of the other.
        second: String,
    },
    /// The kernel was told to take another slot than the one that is mounted.
    #[error(
        "the kernel's command line says {word}, but {point} is mounted from partition {number}, {label}, PARTUUID {partuuid}"
    )]
    Disagreement {
        /// The parameter.
        word: String,
        /// The mount point of the slot.
        point: &'static str,
        /// Number of the partition that is mounted.
        number: u32,
        /// Its label.
        label: String,
        /// Its PARTUUID.
        partuuid: String,
    },
    /// What should be a slot, or what is mounted from one, is no block device.
    #[error("{0} is no block device")]
    NoDevice(String),
    /// A device-mapper device over several others.
    #[error("{} is made of {count} devices", device.display())]
    ManyDevices {
        /// Its directory in sysfs.
        device: PathBuf,
        /// How many.
        count: usize,
    },
    /// Device-mapper devices stacked without end.
    #[error("{} stacks too many devices", .0.display())]
    TooDeep(PathBuf),
    /// The device below `/usr` is no partition.
    #[error("{} is no partition", .0.display())]
    NoPartition(PathBuf),
    /// The partition below `/usr` is neither slot of its disk.
    #[error("/usr comes from partition {number} of {}, which is neither slot", disk.display())]
    NoSlot {
        /// Its number.
        number: u32,
        /// Its disk.
        disk: PathBuf,
    },
}
