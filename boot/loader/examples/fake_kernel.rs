//! Stand-in of a kernel for the loader's tests. It prints the options with which it was started,
//! then does what they say: `fake=return-b` gives up like a kernel that finds no memory, anything
//! else turns the machine off.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "`uefi::entry` sets the crate's global handles")]

use uefi::proto::loaded_image::LoadedImage;
use uefi::runtime::ResetType;
use uefi::{Status, boot, println, runtime};

#[uefi::entry]
fn main() -> Status {
    let Ok(image) = boot::open_protocol_exclusive::<LoadedImage>(boot::image_handle()) else {
        return Status::UNSUPPORTED;
    };
    let Ok(options) = image.load_options_as_cstr16() else {
        return Status::INVALID_PARAMETER;
    };
    println!("fake kernel: {options}");
    let gives_up = options
        .to_u16_slice()
        .windows(13)
        .any(|window| window.iter().copied().eq("fake=return-b".encode_utf16()));
    if gives_up {
        return Status::OUT_OF_RESOURCES;
    }
    runtime::reset(ResetType::SHUTDOWN, Status::SUCCESS, None)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("fake kernel: {info}");
    runtime::reset(ResetType::SHUTDOWN, Status::ABORTED, None)
}
