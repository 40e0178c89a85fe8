//! All `unsafe` code but that of the chipset's registers, each line with the reason for which it is
//! sound.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::panic::PanicInfo;
use core::ptr;

use uefi::boot::{OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol};
use uefi::proto::loaded_image::LoadedImage;
use uefi::proto::media::block::BlockIO;
use uefi::{CString16, Handle, ResultExt, Status, boot};

use super::error::FirmwareError;
use super::{READING_TIME, run};

/// Entry point for the firmware.
// SAFETY (no_mangle): the linker takes this very name as entry point, and nothing else exports it.
#[unsafe(no_mangle)]
extern "efiapi" fn efi_main(image: Handle, table: *const c_void) -> Status {
    // SAFETY: both values are those that the firmware passes to the entry point of an application;
    // they stay valid until it returns, since the loader never leaves boot services. They are set
    // once, before any use.
    unsafe {
        boot::set_image_handle(image);
        uefi::table::set_system_table(table.cast());
    }
    run()
}

/// Prints the panic and returns control to the firmware.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    uefi::println!("slot-loader: {info}");
    boot::stall(READING_TIME);
    // SAFETY: the handle is the running application's own, there is no exit data, and no destructor
    // matters: the firmware frees the image, and every write that counts was flushed where it was
    // made.
    unsafe { boot::exit(boot::image_handle(), Status::ABORTED, 0, ptr::null_mut()) }
}

/// The block device on `handle`, beside the firmware's own drivers.
pub(super) fn block_device(handle: Handle) -> Result<ScopedProtocol<BlockIO>, FirmwareError> {
    let params = OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        controller: None,
    };
    // SAFETY: an exclusive open would disconnect the partition driver, and with it the EFI system
    // partition that kernels are loaded from. A shared one is sound as long as the device doesn't
    // vanish, and nothing here disconnects a driver or waits for hot-plug events; its calls are
    // synchronous, made from one processor at application level, and interleave with other users'
    // only as whole calls.
    unsafe { boot::open_protocol(params, OpenProtocolAttributes::GetProtocol) }
        .map_err(FirmwareError::of("opening the boot disk"))
}

/// A loaded kernel and the options that it points to.
pub(super) struct Kernel {
    image: Handle,
    /// Must live as long as the image, which holds its address.
    _options: CString16,
}

impl Kernel {
    /// Gives `options` to the loaded `image`.
    pub(super) fn new(image: Handle, options: CString16) -> Result<Self, FirmwareError> {
        let call = "passing the command line";
        let size = u32::try_from(options.num_bytes()).map_err(|_| FirmwareError::Call {
            call,
            status: Status::BAD_BUFFER_SIZE,
        })?;
        let mut loaded =
            boot::open_protocol_exclusive::<LoadedImage>(image).map_err(FirmwareError::of(call))?;
        // SAFETY: `size` bytes are valid at that address, which doesn't change when the string is
        // moved. They are freed with `Self`: it lives while the image runs, and once that has
        // returned, the firmware has unloaded it.
        unsafe { loaded.set_load_options(options.as_ptr().cast(), size) };
        Ok(Self {
            image,
            _options: options,
        })
    }

    /// Starts the kernel. Returns only if the kernel does.
    pub(super) fn start(self) -> Status {
        boot::start_image(self.image).status()
    }
}
