//! A TCO timer in memory, by the datasheet that the loader names.

use slot_loader::{Chipset, LpcRegister, TcoPlace, TcoRegister};

const HALTED: u16 = 1 << 11;
const NO_REBOOT: u32 = 1 << 5;

/// An LPC bridge and its timer.
#[derive(Debug, Clone)]
pub(crate) struct FakeChipset {
    pub(crate) identity: u32,
    pub(crate) pm_base: u32,
    pub(crate) acpi_control: u32,
    pub(crate) root_complex_base: u32,
    /// Whether the board keeps `NO_REBOOT` set.
    pub(crate) strapped: bool,
    /// Whether the timer ignores what it is told.
    pub(crate) dead: bool,
    pub(crate) gcs: u32,
    pub(crate) control: u16,
    pub(crate) status: [u16; 2],
    pub(crate) timer: u16,
    /// Ticks that are left.
    pub(crate) left: u16,
    /// How often a register was written.
    pub(crate) writes: u32,
}

impl FakeChipset {
    /// QEMU's q35 after OVMF: the timer runs, and `NO_REBOOT` keeps it from resetting.
    pub(crate) fn q35() -> Self {
        Self {
            identity: 0x2918_8086,
            pm_base: 0x601,
            acpi_control: 0x80,
            root_complex_base: 0xfed1_c001,
            strapped: false,
            dead: false,
            gcs: NO_REBOOT | 0x400,
            // With bits of the firmware's, and an NMI that is pending.
            control: 1 << 12 | 1 << 9 | 1 << 8,
            status: [1 << 3, 1 << 1],
            timer: 4,
            left: 4,
            writes: 0,
        }
    }

    /// Ticks of each countdown, if the timer will reset the machine.
    pub(crate) fn armed(&self) -> Option<u16> {
        let resets = self.control & HALTED == 0 && self.gcs & NO_REBOOT == 0;
        resets.then_some(self.timer & 0x3ff)
    }
}

impl Chipset for FakeChipset {
    fn lpc(&mut self, register: LpcRegister) -> u32 {
        match register {
            LpcRegister::Identity => self.identity,
            LpcRegister::PmBase => self.pm_base,
            LpcRegister::AcpiControl => self.acpi_control,
            LpcRegister::RootComplexBase => self.root_complex_base,
        }
    }

    fn read(&mut self, place: TcoPlace, register: TcoRegister) -> u16 {
        assert_eq!(place.port(TcoRegister::Reload), 0x660);
        match register {
            TcoRegister::Reload => self.left,
            TcoRegister::Status1 => self.status[0],
            TcoRegister::Status2 => self.status[1],
            TcoRegister::Control1 => self.control,
            TcoRegister::Timer => self.timer,
        }
    }

    fn write(&mut self, place: TcoPlace, register: TcoRegister, value: u16) {
        assert_eq!(place.port(TcoRegister::Timer), 0x672);
        self.writes += 1;
        if self.dead {
            return;
        }
        match register {
            TcoRegister::Reload => self.left = self.timer & 0x3ff,
            TcoRegister::Status1 => self.status[0] &= !value,
            TcoRegister::Status2 => self.status[1] &= !value,
            TcoRegister::Control1 => {
                let nmi = self.control & !value & 1 << 8;
                self.control = value & !(1 << 8) | nmi;
            }
            TcoRegister::Timer => self.timer = value,
        }
    }

    fn gcs(&mut self, place: TcoPlace) -> u32 {
        assert_eq!(place.gcs(), 0xfed1_f410);
        self.gcs
    }

    fn set_gcs(&mut self, _place: TcoPlace, value: u32) {
        self.writes += 1;
        self.gcs = if self.strapped { value | NO_REBOOT } else { value };
    }
}
