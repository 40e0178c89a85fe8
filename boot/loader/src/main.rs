//! The EFI application: all of it is the library, whose entry point the linker looks for by name.
#![no_std]
#![no_main]

use slot_loader as _;
