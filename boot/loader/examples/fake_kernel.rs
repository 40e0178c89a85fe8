//! Stand-in of a kernel for the loader's tests. It prints the options with which it was started,
//! then does what they say: `fake=return-b` gives up like a kernel that finds no memory,
//! `fake=hang-b` stands still for longer than a watchdog waits, anything else turns the machine off.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "`uefi::entry` sets the crate's global handles")]

use uefi::boot::{EventType, TimerTrigger, Tpl};
use uefi::proto::loaded_image::LoadedImage;
use uefi::runtime::ResetType;
use uefi::{Status, boot, println, runtime};

/// 45 s, in units of 100 ns: longer than the shortest time-out of a watchdog, which is 30 s.
const HANG: u64 = 45 * 10_000_000;

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
        if let Err(error) = stand_still() {
            println!("fake kernel: it can't stand still: {error}");
        }
        println!("fake kernel: nothing has ended the hang");
    }
    runtime::reset(ResetType::SHUTDOWN, Status::SUCCESS, None)
}

/// The firmware has the processor sleep meanwhile; it would be busy for all of `boot::stall`.
fn stand_still() -> uefi::Result {
    // SAFETY: the event has no function that the firmware could call.
    let event = unsafe { boot::create_event(EventType::TIMER, Tpl::APPLICATION, None, None) }?;
    boot::set_timer(&event, TimerTrigger::Relative(HANG))?;
    boot::wait_for_event(&mut [event])
        .map(|_| ())
        .map_err(|error| error.status().into())
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("fake kernel: {info}");
    runtime::reset(ResetType::SHUTDOWN, Status::ABORTED, None)
}
