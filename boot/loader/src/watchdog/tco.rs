//! TCO timer of Intel's ICH9 and ICH10 chipsets: where it is, and how it is armed and halted.
//!
//! Source: Intel I/O Controller Hub 9 (ICH9) Family Datasheet, document 316972, chapters "LPC
//! Interface Bridge Registers (D31:F0)" (`PMBASE`, `ACPI_CNTL`, `RCBA`), "System Management TCO
//! Registers (D31:F0)" (`TCO_RLD`, `TCO1_STS`, `TCO2_STS`, `TCO1_CNT`, `TCO_TMR`) and "Chipset
//! Configuration Registers" (`GCS`, with `NO_REBOOT`). ICH10 (document 319973) has the same.
//!
//! The timer counts down in ticks of 0.6 s. At 0 it sets `TIMEOUT`, may raise an SMI, and starts
//! anew; at the second 0 it resets the machine, unless `NO_REBOOT` is set.

use core::fmt;

/// Time until the timer resets the machine: both of its countdowns together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcoTimeout {
    /// Ticks of each countdown.
    ticks: u16,
}

impl TcoTimeout {
    pub(super) const WANTED: &str = "a number of seconds from 30 to 1200";

    /// `seconds` or up to three more, if they are in 30 to 1200. The timer may be one tick early.
    #[must_use]
    pub fn from_seconds(seconds: u32) -> Option<Self> {
        if !(30..=1200).contains(&seconds) {
            return None;
        }
        // Two countdowns of 0.6 s a tick; at most 1001 of the 1023 ticks that ten bits hold.
        let ticks = u16::try_from((seconds * 10).div_ceil(12) + 1).ok()?;
        Some(Self { ticks })
    }

    /// Value for `TCO_TMR`.
    #[must_use]
    pub const fn ticks(self) -> u16 {
        self.ticks
    }

    /// Whole seconds until the reset.
    #[must_use]
    pub const fn seconds(self) -> u16 {
        self.ticks * 12 / 10
    }
}

/// Registers of the LPC bridge's PCI configuration space (bus 0, device 31, function 0) that tell
/// where the timer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LpcRegister {
    /// Vendor in the low half, device in the high one.
    Identity,
    /// `PMBASE`: base of the ACPI registers, among the I/O ports.
    PmBase,
    /// `ACPI_CNTL`: whether those ports are decoded.
    AcpiControl,
    /// `RCBA`: base of the chipset's configuration registers, in memory.
    RootComplexBase,
}

impl LpcRegister {
    /// Offset in the configuration space; a multiple of 4.
    #[must_use]
    pub const fn offset(self) -> u8 {
        match self {
            Self::Identity => 0x00,
            Self::PmBase => 0x40,
            Self::AcpiControl => 0x44,
            Self::RootComplexBase => 0xf0,
        }
    }
}

/// Registers of the timer, of 16 bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcoRegister {
    /// `TCO_RLD`: what is left; a write starts the countdown anew.
    Reload,
    /// `TCO1_STS`: bit 3 says that a countdown has ended. A written 1 clears.
    Status1,
    /// `TCO2_STS`: bit 1 says that the second has, bit 2 that it ended in a reset. A written 1
    /// clears.
    Status2,
    /// `TCO1_CNT`: bit 11 halts.
    Control1,
    /// `TCO_TMR`: bits 9 to 0 are the ticks of a countdown.
    Timer,
}

impl TcoRegister {
    const fn offset(self) -> u16 {
        match self {
            Self::Reload => 0x00,
            Self::Status1 => 0x04,
            Self::Status2 => 0x06,
            Self::Control1 => 0x08,
            Self::Timer => 0x12,
        }
    }
}

const HALTED: u16 = 1 << 11;
/// Bits of `TCO1_CNT` that are written as they are read: all others but `NMI_NOW`, bit 8, which a 1
/// clears.
const KEPT: u16 = !(HALTED | 1 << 8);
const TICKS: u16 = 0x3ff;
const TIMED_OUT: u16 = 1 << 3;
const TIMED_OUT_TWICE: u16 = 1 << 1 | 1 << 2;
/// Bit of `GCS`. The chipset keeps it set where a strap on the board does.
const NO_REBOOT: u32 = 1 << 5;

/// Place of the timer's registers. Invariant, on which the access to them relies: it was computed
/// from the registers of an LPC bridge that is known here; the ports are those of the bridge's ACPI
/// block, which it decodes, and the address is that of `GCS` in its enabled register block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcoPlace {
    base: u16,
    gcs: u32,
}

/// PCI identities of the LPC bridges of ICH9 (R, DH, DO, M, M-E, plain) and ICH10 (the same, D and
/// DO). QEMU's q35 is a 0x2918.
const DEVICES: [u16; 10] = [
    0x2912, 0x2914, 0x2916, 0x2917, 0x2918, 0x2919, 0x3a14, 0x3a16, 0x3a18, 0x3a1a,
];
const INTEL: u16 = 0x8086;

/// Lowest port that is no standard device's.
const FIRST_PORT: u16 = 0x400;
/// Lowest address that firmware of these chipsets has for devices of the chipset itself.
const FIRST_ADDRESS: u32 = 0xe000_0000;

/// Why the timer is not armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TcoError {
    /// Another chipset.
    #[error("the device at 00:1f.0 is {vendor:04x}:{device:04x}, no LPC bridge whose TCO timer is known")]
    Unknown {
        /// Its vendor.
        vendor: u16,
        /// Its device number.
        device: u16,
    },
    /// The firmware hasn't set up the ACPI registers.
    #[error("PMBASE is {0:#x}, no base of ACPI registers")]
    PmBase(u32),
    /// The firmware hasn't turned them on.
    #[error("ACPI_CNTL is {0:#x}: the ACPI registers are off")]
    AcpiOff(u32),
    /// The firmware hasn't set up the chipset's register block.
    #[error("RCBA is {0:#x}, no base of the chipset's registers")]
    RootComplexBase(u32),
    /// A register doesn't keep what is written to it.
    #[error("{register} is {found:#x} after {written:#x} was written")]
    NotKept {
        /// Name of the register.
        register: &'static str,
        /// What was written.
        written: u32,
        /// What is read.
        found: u32,
    },
    /// The board forbids it.
    #[error("GCS stays {0:#x}: a strap on the board (NO_REBOOT) keeps the TCO timer from resetting")]
    NoReboot(u32),
}

impl TcoPlace {
    /// Finds the timer.
    ///
    /// # Errors
    /// If this is another chipset, or the firmware hasn't set it up.
    pub fn find(chipset: &mut dyn Chipset) -> Result<Self, TcoError> {
        let [low, high] = halves(chipset.lpc(LpcRegister::Identity));
        if low != INTEL || !DEVICES.contains(&high) {
            return Err(TcoError::Unknown {
                vendor: low,
                device: high,
            });
        }
        // Bits 15 to 7 are the base, bit 0 says "ports"; the others are 0.
        let pm_base = chipset.lpc(LpcRegister::PmBase);
        let [base, upper] = halves(pm_base);
        let ports = base & 0xff80;
        if upper != 0 || base != ports | 1 || ports < FIRST_PORT {
            return Err(TcoError::PmBase(pm_base));
        }
        let control = chipset.lpc(LpcRegister::AcpiControl);
        if control & 1 << 7 == 0 {
            return Err(TcoError::AcpiOff(control));
        }
        // Bits 31 to 14 are the base, bit 0 turns it on.
        let root = chipset.lpc(LpcRegister::RootComplexBase);
        let block = root & 0xffff_c000;
        if root != block | 1 || block < FIRST_ADDRESS {
            return Err(TcoError::RootComplexBase(root));
        }
        Ok(Self {
            // The block has 128 ports, of which these are the last 32: no overflow.
            base: ports + 0x60,
            gcs: block + 0x3410,
        })
    }

    /// Port of a register.
    #[must_use]
    pub const fn port(self, register: TcoRegister) -> u16 {
        self.base + register.offset()
    }

    /// Address of `GCS`; a multiple of 4.
    #[must_use]
    pub const fn gcs(self) -> u32 {
        self.gcs
    }
}

/// The upper and lower half of a register, the lower one first.
fn halves(value: u32) -> [u16; 2] {
    let [a, b, c, d] = value.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

impl fmt::Display for TcoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I/O port {:#x}", self.base)
    }
}

/// Registers of the chipset. Tests use a fake.
pub trait Chipset {
    /// A register of the LPC bridge; all ones where there is no such device.
    fn lpc(&mut self, register: LpcRegister) -> u32;
    /// Reads a register of the timer at `place`.
    fn read(&mut self, place: TcoPlace, register: TcoRegister) -> u16;
    /// Writes a register of the timer at `place`.
    fn write(&mut self, place: TcoPlace, register: TcoRegister, value: u16);
    /// Reads `GCS`.
    fn gcs(&mut self, place: TcoPlace) -> u32;
    /// Writes `GCS`.
    fn set_gcs(&mut self, place: TcoPlace, value: u32);
}

/// An armed timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArmedTco {
    place: TcoPlace,
    /// `GCS` before.
    gcs: u32,
}

impl ArmedTco {
    /// Has the timer reset the machine after `timeout`.
    ///
    /// # Errors
    /// If there is no such timer, or it doesn't take the time-out. It is halted then, if it was
    /// found at all.
    pub fn arm(chipset: &mut dyn Chipset, timeout: TcoTimeout) -> Result<Self, TcoError> {
        let place = TcoPlace::find(chipset)?;
        let armed = Self {
            place,
            gcs: chipset.gcs(place),
        };
        let outcome = start(chipset, place, armed.gcs, timeout);
        if outcome.is_err() {
            armed.halt(chipset);
        }
        outcome.map(|()| armed)
    }

    /// Halts the timer.
    pub fn halt(self, chipset: &mut dyn Chipset) {
        let control = chipset.read(self.place, TcoRegister::Control1) & KEPT;
        chipset.write(self.place, TcoRegister::Control1, control | HALTED);
        chipset.set_gcs(self.place, self.gcs);
    }

    /// Place of the timer.
    #[must_use]
    pub const fn place(self) -> TcoPlace {
        self.place
    }
}

fn start(chipset: &mut dyn Chipset, place: TcoPlace, gcs: u32, timeout: TcoTimeout) -> Result<(), TcoError> {
    chipset.set_gcs(place, gcs & !NO_REBOOT);
    let found = chipset.gcs(place);
    if found & NO_REBOOT != 0 {
        return Err(TcoError::NoReboot(found));
    }
    let control = chipset.read(place, TcoRegister::Control1) & KEPT;
    chipset.write(place, TcoRegister::Control1, control | HALTED);
    let timer = chipset.read(place, TcoRegister::Timer) & !TICKS | timeout.ticks();
    chipset.write(place, TcoRegister::Timer, timer);
    kept("TCO_TMR", timer, chipset.read(place, TcoRegister::Timer))?;
    // What an earlier run has left would count as the first countdown.
    chipset.write(place, TcoRegister::Status1, TIMED_OUT);
    chipset.write(place, TcoRegister::Status2, TIMED_OUT_TWICE);
    chipset.write(place, TcoRegister::Reload, 1);
    chipset.write(place, TcoRegister::Control1, control);
    kept(
        "TCO1_CNT",
        control,
        chipset.read(place, TcoRegister::Control1) & (KEPT | HALTED),
    )
}

fn kept(register: &'static str, written: u16, found: u16) -> Result<(), TcoError> {
    if found == written {
        return Ok(());
    }
    Err(TcoError::NotKept {
        register,
        written: written.into(),
        found: found.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_is_never_shorter_than_asked_for_and_at_most_three_seconds_longer() {
        for seconds in 30..=1200 {
            let timeout = TcoTimeout::from_seconds(seconds).unwrap();
            assert_eq!(timeout.ticks() & !TICKS, 0);
            // Two countdowns in tenths of a second, each up to one tick early.
            let earliest = 2 * (u32::from(timeout.ticks()) - 1) * 6;
            assert!(earliest >= seconds * 10, "{seconds}");
            assert!(u32::from(timeout.seconds()) <= seconds + 3, "{seconds}");
        }
        assert_eq!(TcoTimeout::from_seconds(29), None);
        assert_eq!(TcoTimeout::from_seconds(1201), None);
        assert_eq!(TcoTimeout::from_seconds(180).unwrap().ticks(), 151);
    }
}
