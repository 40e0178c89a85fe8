//! Boot disk, by the firmware's block device.

use alloc::vec::Vec;

use slots::{Disk, Geometry, SectorSize};
use uefi::Handle;
use uefi::boot::{self, ScopedProtocol};
use uefi::proto::device_path::build::DevicePathBuilder;
use uefi::proto::device_path::{DevicePath, DeviceSubType, DeviceType};
use uefi::proto::media::block::BlockIO;

use super::error::FirmwareError;
use super::raw;

/// The whole disk that holds a partition.
pub(super) struct BootDisk {
    device: ScopedProtocol<BlockIO>,
    geometry: Geometry,
    media: u32,
    /// Buffer with the alignment that the device requires.
    bounce: Aligned,
}

impl BootDisk {
    /// The disk on which the partition with device path `partition` lies.
    pub(super) fn of(partition: &DevicePath) -> Result<Self, FirmwareError> {
        let device = raw::block_device(parent(partition)?)?;
        let media = device.media();
        let bytes = media.block_size();
        let geometry = Geometry {
            sector_size: SectorSize::new(bytes).ok_or(FirmwareError::SectorSize(bytes))?,
            sectors: media.last_block().saturating_add(1),
        };
        if media.is_logical_partition() {
            return Err(FirmwareError::NotFromDisk);
        }
        let align = usize::try_from(media.io_align()).unwrap_or(1).max(1);
        Ok(Self {
            geometry,
            media: media.media_id(),
            bounce: Aligned {
                memory: Vec::new(),
                align,
            },
            device,
        })
    }
}

/// The handle whose device path is that of `partition` without its last node, which must say
/// "partition".
fn parent(partition: &DevicePath) -> Result<Handle, FirmwareError> {
    let mut bytes = Vec::new();
    let mut path = DevicePathBuilder::with_vec(&mut bytes);
    let mut nodes = partition.node_iter().peekable();
    while let Some(node) = nodes.next() {
        if nodes.peek().is_some() {
            path = path.push(&node).map_err(|_| FirmwareError::NotFromDisk)?;
        } else if node.full_type() != (DeviceType::MEDIA, DeviceSubType::MEDIA_HARD_DRIVE) {
            return Err(FirmwareError::NotFromDisk);
        }
    }
    let mut rest = path.finalize().map_err(|_| FirmwareError::NotFromDisk)?;
    let handle = boot::locate_device_path::<BlockIO>(&mut rest)
        .map_err(FirmwareError::of("looking for the boot disk"))?;
    // What is left over would lead on to another device: the one found is further up.
    if rest.node_iter().next().is_none() {
        Ok(handle)
    } else {
        Err(FirmwareError::NotFromDisk)
    }
}

impl Disk for BootDisk {
    type Error = FirmwareError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), FirmwareError> {
        let bounce = self.bounce.of(buf.len());
        self.device
            .read_blocks(self.media, lba, bounce)
            .map_err(FirmwareError::of("reading the boot disk"))?;
        buf.copy_from_slice(bounce);
        Ok(())
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), FirmwareError> {
        let bounce = self.bounce.of(data.len());
        bounce.copy_from_slice(data);
        self.device
            .write_blocks(self.media, lba, bounce)
            .map_err(FirmwareError::of("writing the boot disk"))
    }

    fn flush(&mut self) -> Result<(), FirmwareError> {
        self.device
            .flush_blocks()
            .map_err(FirmwareError::of("flushing the boot disk"))
    }
}

/// Memory at an aligned address.
struct Aligned {
    memory: Vec<u8>,
    /// Alignment in bytes, at least 1.
    align: usize,
}

impl Aligned {
    /// `len` bytes at a multiple of the alignment.
    fn of(&mut self, len: usize) -> &mut [u8] {
        let enough = len.saturating_add(self.align);
        if self.memory.len() < enough {
            self.memory.resize(enough, 0);
        }
        let address = self.memory.as_ptr().addr();
        let start = address.next_multiple_of(self.align) - address;
        &mut self.memory[start..start + len]
    }
}
