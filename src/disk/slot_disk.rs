//! The disk that holds the running slot: where its slots lie and how they are opened. What is
//! written to its table is in [`edit`].

mod boot_risk;
mod discover;
mod edit;
mod hold;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::libc::O_EXCL;
use nix::sys::stat::{major, minor};
use slots::{Disk, Gpt, Guid, Partition, PartitionNumber, SlotAttributes};

use super::lock::{PATIENCE, TargetImage};
use super::medium::{Medium, MediumKind};
use super::own_disk::{NamedPartition, OwnDisk};
use super::sealed::unseal;
use super::slot::Layout;
use super::sysfs::{BlockDevice, Guard};
use super::{BlockTarget, DiskError, FileTarget, LayoutError, Sealed, SlotName};
use crate::host::Host;

pub use boot_risk::BootRisk;
pub use edit::{GivenUp, Marked, WentBack};

/// One slot as it stands in the partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRow {
    /// The slot concerned.
    pub slot: SlotName,
    /// Number of its partition, from 1.
    pub partition: u32,
    /// PARTUUID, lower case, with dashes.
    pub partuuid: String,
    /// Its first sector.
    pub first_lba: u64,
    /// Its length in sectors.
    pub sectors: u64,
    /// Priority, tries, successful.
    pub attributes: SlotAttributes,
}

/// The disk holding the running slot: its partition table and both slots.
///
/// Cheap to keep, safe to share: the medium is opened for each call, and edits of the table are
/// serialised. All calls block on the disk.
#[derive(Debug)]
pub struct SlotDisk {
    disk: PathBuf,
    host: Host,
    /// The disk in sysfs, unless it is an image.
    device: Option<BlockDevice>,
    running: SlotName,
    /// Between the running slot and its mount.
    guard: Guard,
    layout: Layout,
    sector_bytes: u64,
    editing: Mutex<()>,
    /// How long a lock that somebody else has on the disk is waited for.
    patience: Duration,
}

/// The bytes of a slot, and through what they are reached.
enum SlotAccess {
    /// The partition has a device of its own.
    Node(PathBuf),
    /// A window into the disk, from this byte on.
    Window(u64),
}

impl SlotDisk {
    /// A disk image (sectors of 512 or 4096 bytes, as its table says) or a device named by the
    /// operator.
    ///
    /// # Errors
    /// When it can't be read or doesn't hold the slots.
    pub fn open(disk: &Path, running: SlotName) -> Result<Self, DiskError> {
        let (medium, layout) = read_layout(disk)?;
        Self::new(disk.to_path_buf(), Host::new("/"), running, layout, &medium)
    }

    fn new(
        disk: PathBuf,
        host: Host,
        running: SlotName,
        layout: Layout,
        medium: &Medium,
    ) -> Result<Self, DiskError> {
        let device = match medium.kind() {
            MediumKind::Image => None,
            MediumKind::Device => {
                let metadata = std::fs::metadata(&disk);
                let rdev = metadata
                    .map_err(|source| DiskError::Open {
                        path: disk.clone(),
                        source,
                    })?
                    .rdev();
                Some(BlockDevice::numbered(
                    &host.path("/sys"),
                    major(rdev),
                    minor(rdev),
                )?)
            }
        };
        let sector_bytes = u64::from(medium.geometry().sector_size.bytes());
        Ok(Self {
            disk,
            host,
            device,
            running,
            guard: Guard::None,
            layout,
            sector_bytes,
            editing: Mutex::new(()),
            patience: PATIENCE,
        })
    }

    /// Waits that long for the disk's lock instead of ten seconds.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The slot this system runs from.
    #[must_use]
    pub fn running(&self) -> SlotName {
        self.running
    }

    /// What guards the running slot's bytes; nothing that is known if the disk was named.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// Both slots as they stand in the table now, A first.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn table(&self) -> Result<Vec<SlotRow>, DiskError> {
        let layout = self.read()?.layout;
        let row = |slot| {
            let partition = layout.partition(slot);
            SlotRow {
                slot,
                partition: partition.number.get(),
                partuuid: partition.guid.to_string(),
                first_lba: partition.first_lba,
                sectors: partition.last_lba - partition.first_lba + 1,
                attributes: partition.attributes,
            }
        };
        Ok([SlotName::A, SlotName::B].map(row).into())
    }

    /// The disk, to be told from others, with all partitions that its table has now.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn own_disk(&self) -> Result<OwnDisk, DiskError> {
        let Some(device) = &self.device else {
            return Ok(OwnDisk::image());
        };
        let TableView { gpt, layout } = self.read()?;
        let named = |partition: Partition| NamedPartition {
            number: partition.number.get(),
            slot: layout.slot_of(partition.number),
            partuuid: partition.guid.to_string(),
            label: partition.label,
        };
        let partitions = gpt.table().partitions().map(named).collect();
        Ok(OwnDisk::device(device.clone(), &self.host, partitions))
    }

    /// Attributes of `slot`, read from the medium.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn attributes(&self, slot: SlotName) -> Result<SlotAttributes, DiskError> {
        Ok(self.read()?.layout.partition(slot).attributes)
    }

    /// The slot that the loader takes at the next boot, chosen as it chooses: among all partitions
    /// of the slots' type, of equals the first in the table. None if it takes none, or one that is
    /// neither slot.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn boots_next(&self) -> Result<Option<SlotName>, DiskError> {
        let TableView { gpt, layout } = self.read()?;
        let choice = gpt.table().choose(Guid::FLATCAR_USR);
        Ok(choice.and_then(|choice| layout.slot_of(choice.slot)))
    }

    /// Length of `slot` in bytes.
    #[must_use]
    pub fn slot_len(&self, slot: SlotName) -> u64 {
        let partition = self.layout.partition(slot);
        // A checked partition: first <= last, and the whole disk fits 64 bits of bytes.
        (partition.last_lba - partition.first_lba + 1) * self.sector_bytes
    }

    /// `slot` for reading and writing, exclusively: refused while it is mounted or another engine
    /// has it (of an image: while anybody has any of its slots as target).
    ///
    /// # Errors
    /// [`DiskError::Running`] for the running slot, [`DiskError::Busy`] when somebody else has it.
    pub fn open_target(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        if let SlotAccess::Node(path) = self.access(slot)? {
            self.refuse_running(slot)?;
            unseal(&path).map_err(|source| open_error(slot, &path, source))?;
        }
        self.open_alone(slot, OpenOptions::new().read(true).write(true))
    }

    /// `slot` for us alone, as [`Self::open_target`] opens it, but for reading: nothing is changed,
    /// not even that a sealed slot is sealed.
    ///
    /// # Errors
    /// Likewise.
    pub fn reserve(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.open_alone(slot, OpenOptions::new().read(true))
    }

    fn open_alone(
        &self,
        slot: SlotName,
        options: &mut OpenOptions,
    ) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.refuse_running(slot)?;
        let len = self.slot_len(slot);
        match self.access(slot)? {
            SlotAccess::Node(path) => {
                let file = options.custom_flags(O_EXCL).open(&path);
                let file = file.map_err(|source| open_error(slot, &path, source))?;
                let file = self.check_len(slot, &path, file)?;
                Ok(Arc::new(FileTarget::new(Box::new(file), 0, len)))
            }
            SlotAccess::Window(start) => {
                let failed = |source: io::Error| open_error(slot, &self.disk, source);
                let file = options.open(&self.disk).map_err(failed)?;
                let file = TargetImage::lock(file).map_err(failed)?;
                Ok(Arc::new(FileTarget::new(file, start, len)))
            }
        }
    }

    /// `slot` for reading.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open_source(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        let len = self.slot_len(slot);
        match self.access(slot)? {
            SlotAccess::Node(path) => {
                let file = File::open(&path).map_err(|source| open_error(slot, &path, source))?;
                let file = self.check_len(slot, &path, file)?;
                Ok(Arc::new(FileTarget::new(Box::new(file), 0, len)))
            }
            SlotAccess::Window(start) => {
                let file = File::open(&self.disk).map_err(|source| open_error(slot, &self.disk, source))?;
                Ok(Arc::new(FileTarget::new(Box::new(file), start, len)))
            }
        }
    }

    /// Makes `slot` read-only at block level and gives the node to mount. Drop the target first:
    /// whoever has it open can still write.
    ///
    /// # Errors
    /// [`DiskError::Seal`]; needs root.
    pub fn seal(&self, slot: SlotName) -> Result<Sealed, DiskError> {
        self.refuse_running(slot)?;
        match self.access(slot)? {
            SlotAccess::Node(path) => {
                Sealed::partition(&path).map_err(|source| DiskError::Seal { path, source })
            }
            SlotAccess::Window(start) => {
                Sealed::window(&self.disk, start, self.slot_len(slot)).map_err(|source| DiskError::Seal {
                    path: self.disk.clone(),
                    source,
                })
            }
        }
    }

    fn refuse_running(&self, slot: SlotName) -> Result<(), DiskError> {
        if slot == self.running {
            Err(DiskError::Running(slot))
        } else {
            Ok(())
        }
    }

    /// A kernel that knows the partition gives it a node, with exclusive opens and a read-only
    /// flag; images, and devices whose partitions the kernel doesn't read, are reached by offset.
    fn access(&self, slot: SlotName) -> Result<SlotAccess, DiskError> {
        let partition = self.layout.partition(slot);
        let known = match &self.device {
            Some(disk) => disk.partition(partition.number.get())?,
            None => None,
        };
        Ok(match known {
            Some(device) => SlotAccess::Node(self.host.path(&device.node()?.to_string_lossy())),
            None => SlotAccess::Window(partition.first_lba * self.sector_bytes),
        })
    }

    /// Refuses a device of another length than the table says: the kernel may know an older table.
    fn check_len(&self, slot: SlotName, path: &Path, mut device: File) -> Result<File, DiskError> {
        let kernel = io::Seek::seek(&mut device, io::SeekFrom::End(0));
        let kernel = kernel.map_err(|source| open_error(slot, path, source))?;
        let table = self.slot_len(slot);
        if kernel == table {
            Ok(device)
        } else {
            Err(DiskError::Stale {
                path: path.to_path_buf(),
                kernel,
                table,
            })
        }
    }

    /// The table as the medium holds it, with the slots where they were when the disk was opened.
    fn read(&self) -> Result<TableView, DiskError> {
        let mut medium = open_medium(&self.disk)?;
        self.find(&mut medium)
    }

    fn find(&self, medium: &mut Medium) -> Result<TableView, DiskError> {
        let (gpt, layout) = find_layout(&self.disk, medium)?;
        let moved = [SlotName::A, SlotName::B]
            .into_iter()
            .find(|&slot| !layout.same_place(&self.layout, slot));
        match moved {
            Some(slot) => Err(DiskError::Changed {
                slot,
                disk: self.disk.clone(),
            }),
            None => Ok(TableView { gpt, layout }),
        }
    }
}

/// What one look at the medium gave.
struct TableView {
    gpt: Gpt,
    layout: Layout,
}

fn slot_of(layout: &Layout, number: u32) -> Option<SlotName> {
    layout.slot_of(PartitionNumber::new(number)?)
}

fn read_layout(disk: &Path) -> Result<(Medium, Layout), DiskError> {
    let mut medium = open_medium(disk)?;
    let (_, layout) = find_layout(disk, &mut medium)?;
    Ok((medium, layout))
}

fn open_medium(disk: &Path) -> Result<Medium, DiskError> {
    Medium::open(disk).map_err(|source| cannot_open(disk, source))
}

fn cannot_open(disk: &Path, source: io::Error) -> DiskError {
    DiskError::Open {
        path: disk.to_path_buf(),
        source,
    }
}

fn find_layout(disk: &Path, medium: &mut Medium) -> Result<(Gpt, Layout), DiskError> {
    let gpt = Gpt::read(medium).map_err(|source| DiskError::Gpt {
        disk: disk.to_path_buf(),
        source,
    })?;
    let layout = Layout::find(gpt.table());
    let layout = layout.map_err(|source: LayoutError| DiskError::Layout {
        disk: disk.to_path_buf(),
        source,
    })?;
    Ok((gpt, layout))
}

fn open_error(slot: SlotName, path: &Path, source: io::Error) -> DiskError {
    let path = path.to_path_buf();
    match source.kind() {
        io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => DiskError::Busy { slot, path },
        _ => DiskError::Open { path, source },
    }
}
