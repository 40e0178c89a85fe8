//! Registers of the chipset, by the processor's I/O ports and memory. `unsafe`, each line with the
//! reason for which it is sound.
#![allow(unsafe_code)]

use core::arch::asm;
use core::ptr;

use uefi::boot::{self, Tpl};

use crate::watchdog::{Chipset, LpcRegister, TcoPlace, TcoRegister};

/// Ports of PCI's configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2).
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
/// Bus 0, device 31, function 0, with the bit that turns the access on.
const LPC_BRIDGE: u32 = 1 << 31 | 31 << 11;

/// The machine's chipset.
pub(super) struct Ports;

impl Chipset for Ports {
    fn lpc(&mut self, register: LpcRegister) -> u32 {
        let address = LPC_BRIDGE | u32::from(register.offset());
        // SAFETY: nothing at this level waits for an event of a higher one, and the guard restores
        // the level. In between no code of the firmware runs on this processor, the only one that
        // does, so that address and data belong together.
        let _alone = unsafe { boot::raise_tpl(Tpl::HIGH_LEVEL) };
        let value: u32;
        // SAFETY: every PC-like machine has these two ports. What is read has no side effect: the
        // registers of `LpcRegister` are plain, or there is no such device, which reads as ones.
        unsafe {
            asm!(
                "out dx, eax",
                in("dx") CONFIG_ADDRESS,
                in("eax") address,
                options(nostack, preserves_flags)
            );
            asm!(
                "in eax, dx",
                in("dx") CONFIG_DATA,
                out("eax") value,
                options(nostack, preserves_flags)
            );
        }
        value
    }

    fn read(&mut self, place: TcoPlace, register: TcoRegister) -> u16 {
        let value: u16;
        // SAFETY: by the invariant of `TcoPlace` the port is a register of the TCO timer, of 16 bits
        // and without side effects on reading.
        unsafe {
            asm!(
                "in ax, dx",
                in("dx") place.port(register),
                out("ax") value,
                options(nostack, preserves_flags)
            );
        }
        value
    }

    fn write(&mut self, place: TcoPlace, register: TcoRegister, value: u16) {
        // SAFETY: by the invariant of `TcoPlace` the port is a register of the TCO timer. All that
        // this can do is to reset the machine, or to keep it from being reset.
        unsafe {
            asm!(
                "out dx, ax",
                in("dx") place.port(register),
                in("ax") value,
                options(nostack, preserves_flags)
            );
        }
    }

    fn gcs(&mut self, place: TcoPlace) -> u32 {
        // SAFETY: by the invariant of `TcoPlace` this is an aligned register of the chipset, no
        // memory of a Rust object. Boot services map device memory below 4 GiB where it is.
        unsafe { ptr::with_exposed_provenance::<u32>(place.gcs() as usize).read_volatile() }
    }

    fn set_gcs(&mut self, place: TcoPlace, value: u32) {
        // SAFETY: as in `gcs`. Of the register's bits only NO_REBOOT differs from what was read.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(place.gcs() as usize).write_volatile(value) }
    }
}
