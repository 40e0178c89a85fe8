//! Stand-in of a kernel for the loader's tests. It prints the options with which it was started,
//! then does what they say: `fake=return-b` gives up like a kernel that finds no memory,
//! `fake=hang-b` stands still for longer than a watchdog waits, anything else turns the machine off.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "`uefi::entry` sets the crate's global handles")]

use core::time::Duration;

use uefi::proto::loaded_image::LoadedImage;
use uefi::runtime::ResetType;
use uefi::{Status, boot, println, runtime};

/// Longer than the shortest time-out of a watchdog, which is 30 s.
const HANG: Duration = Duration::from_secs(45);

#[uefi::entry]
fn main() -> Status {
    let Ok(image) = boot::open_protocol_exclusive::<LoadedImage>(boot::image_handle()) else {
        return Status::UNSUPPORTED;
    };
    let Ok(options) = image.load_options_as_cstr16() else {
        return Status::INVALID_PARAMETER;
    };
    println!("fake kernel: {options}");
    let is_told = |word: &str| {
        let mut windows = options.to_u16_slice().windows(word.len());
        windows.any(|window| window.iter().copied().eq(word.encode_utf16()))
    };
    if is_told("fake=return-b") {
        return Status::OUT_OF_RESOURCES;
    }
    if is_told("fake=hang-b") {
        boot::stall(HANG);
        println!("fake kernel: nothing has ended the hang");
    }
    runtime::reset(ResetType::SHUTDOWN, Status::SUCCESS, None)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("fake kernel: {info}");
    runtime::reset(ResetType::SHUTDOWN, Status::ABORTED, None)
}
