//! EFI application. All code is in the library, whose entry point the linker finds by name.
#![no_std]
#![no_main]

use slot_loader as _;
