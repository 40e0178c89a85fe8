//! Machine of the loader, by the firmware's services.

use alloc::vec::Vec;
use core::fmt;

use uefi::{CString16, Status};

use super::boot_disk::BootDisk;
#[cfg(target_arch = "x86_64")]
use super::chipset::Ports;
use super::error::FirmwareError;
use super::raw::Kernel;
use super::system_partition::SystemPartition;
use crate::machine::Machine;
use crate::watchdog::{Chipset, Sha256Digest};

/// Boot disk, EFI system partition and console, by the firmware's services.
pub(super) struct Firmware {
    partition: SystemPartition,
    disk: BootDisk,
    #[cfg(target_arch = "x86_64")]
    chipset: Ports,
}

impl Firmware {
    /// The machine that the running application was loaded from.
    pub(super) fn new() -> Result<Self, FirmwareError> {
        let partition = SystemPartition::of_this_image()?;
        let disk = BootDisk::of(partition.path())?;
        Ok(Self {
            partition,
            disk,
            #[cfg(target_arch = "x86_64")]
            chipset: Ports,
        })
    }
}

impl Machine for Firmware {
    type Disk = BootDisk;
    type Kernel = Kernel;
    type Error = FirmwareError;

    fn disk(&mut self) -> &mut BootDisk {
        &mut self.disk
    }

    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, FirmwareError> {
        self.partition.read(&wide(path)?, limit)
    }

    fn digest(&mut self, path: &str) -> Result<Sha256Digest, FirmwareError> {
        let digest = self.partition.digest(&wide(path)?)?;
        digest.ok_or(FirmwareError::Call {
            call: "opening the file",
            status: Status::NOT_FOUND,
        })
    }

    fn load(&mut self, path: &str, command_line: &str) -> Result<Kernel, FirmwareError> {
        let image = self.partition.load(&wide(path)?)?;
        Kernel::new(image, wide(command_line)?)
    }

    fn start(&mut self, kernel: Kernel) -> FirmwareError {
        FirmwareError::Returned(kernel.start())
    }

    #[cfg(target_arch = "x86_64")]
    fn chipset(&mut self) -> Option<&mut dyn Chipset> {
        Some(&mut self.chipset)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn chipset(&mut self) -> Option<&mut dyn Chipset> {
        None
    }

    fn say(&mut self, line: fmt::Arguments<'_>) {
        uefi::println!("slot-loader: {line}");
    }
}

fn wide(text: &str) -> Result<CString16, FirmwareError> {
    CString16::try_from(text).map_err(|_| FirmwareError::Text)
}
