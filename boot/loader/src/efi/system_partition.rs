//! EFI system partition that the loader was loaded from.

use alloc::boxed::Box;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};
use uefi::boot::{self, LoadImageSource};
use uefi::proto::BootPolicy;
use uefi::proto::device_path::DevicePath;
use uefi::proto::device_path::build::{DevicePathBuilder, media::FilePath};
use uefi::proto::loaded_image::LoadedImage;
use uefi::proto::media::file::{File, FileAttribute, FileMode, RegularFile};
use uefi::proto::media::fs::SimpleFileSystem;
use uefi::{CStr16, Handle, Status};

use super::error::FirmwareError;
use crate::watchdog::Sha256Digest;

/// Bytes of a file that are read at once to hash it.
const CHUNK: usize = 1 << 20;

/// A partition with files, by its handle and device path.
pub(super) struct SystemPartition {
    handle: Handle,
    path: Box<DevicePath>,
}

impl SystemPartition {
    /// The partition from which the running application was loaded.
    pub(super) fn of_this_image() -> Result<Self, FirmwareError> {
        let image = boot::open_protocol_exclusive::<LoadedImage>(boot::image_handle())
            .map_err(FirmwareError::of("asking for the loader's own image"))?;
        let handle = image.device().ok_or(FirmwareError::NotFromDisk)?;
        let path = boot::open_protocol_exclusive::<DevicePath>(handle)
            .map_err(FirmwareError::of("asking for the loader's device"))?
            .to_boxed();
        Ok(Self { handle, path })
    }

    /// Its device path.
    pub(super) fn path(&self) -> &DevicePath {
        &self.path
    }

    /// The first bytes of the file at `path`, at most `limit`; `None` if there is no such file.
    pub(super) fn read(&self, path: &CStr16, limit: usize) -> Result<Option<Vec<u8>>, FirmwareError> {
        self.open(path, |file| read(file, limit))
    }

    /// SHA-256 digest of the file at `path`; `None` if there is no such file.
    pub(super) fn digest(&self, path: &CStr16) -> Result<Option<Sha256Digest>, FirmwareError> {
        self.open(path, |file| {
            let mut sum = Sha256::new();
            let mut chunk = alloc::vec![0; CHUNK];
            loop {
                let length = file
                    .read(&mut chunk)
                    .map_err(FirmwareError::of("reading the file"))?;
                if length == 0 {
                    return Ok(Sha256Digest(sum.finalize().into()));
                }
                sum.update(&chunk[..length]);
            }
        })
    }

    /// What `work` makes of the file at `path`; `None` if there is no such file.
    fn open<T>(
        &self,
        path: &CStr16,
        work: impl FnOnce(&mut RegularFile) -> Result<T, FirmwareError>,
    ) -> Result<Option<T>, FirmwareError> {
        let mut files = boot::open_protocol_exclusive::<SimpleFileSystem>(self.handle)
            .map_err(FirmwareError::of("opening the EFI system partition"))?;
        let mut root = files
            .open_volume()
            .map_err(FirmwareError::of("opening the EFI system partition's root"))?;
        match root.open(path, FileMode::Read, FileAttribute::empty()) {
            Ok(file) => {
                let mut file = file.into_regular_file().ok_or(FirmwareError::Call {
                    call: "opening a directory as a file",
                    status: Status::INVALID_PARAMETER,
                })?;
                work(&mut file).map(Some)
            }
            Err(error) if error.status() == Status::NOT_FOUND => Ok(None),
            Err(error) => Err(FirmwareError::of("opening the file")(error)),
        }
    }

    /// Loads the application at `path`. The firmware itself reads the file, so that it can check
    /// its signature, and the application learns where it came from.
    pub(super) fn load(&self, path: &CStr16) -> Result<Handle, FirmwareError> {
        let too_long = |_| FirmwareError::DevicePath;
        let mut bytes = Vec::new();
        let mut whole = DevicePathBuilder::with_vec(&mut bytes);
        for node in self.path.node_iter() {
            whole = whole.push(&node).map_err(too_long)?;
        }
        let whole = whole.push(&FilePath { path_name: path }).map_err(too_long)?;
        let source = LoadImageSource::FromDevicePath {
            device_path: whole.finalize().map_err(too_long)?,
            boot_policy: BootPolicy::ExactMatch,
        };
        boot::load_image(boot::image_handle(), source).map_err(FirmwareError::of("loading the image"))
    }
}

fn read(file: &mut RegularFile, limit: usize) -> Result<Vec<u8>, FirmwareError> {
    let mut bytes = alloc::vec![0; limit];
    let mut filled = 0;
    while filled < limit {
        let more = file
            .read(&mut bytes[filled..])
            .map_err(FirmwareError::of("reading the file"))?;
        if more == 0 {
            break;
        }
        filled += more;
    }
    bytes.truncate(filled);
    Ok(bytes)
}
