//! Takeover of the chipset's watchdog, which the slot loader has armed, by a release.

use std::path::Path;

use anyhow::Result;

use crate::files;

/// What becomes of the timer once the release's kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// The initrd hangs before it has loaded the driver.
    HangsBefore,
    /// The initrd hangs after that: the kernel feeds the timer for a while.
    HangsAfter,
    /// systemd opens it and feeds it.
    Fed,
    /// Nobody opens it.
    Unopened,
}

/// Seconds by the guest's own clock until the driver must have the timer.
const ITCO_TIMEOUT: u32 = 120;
/// The same until systemd must have opened it.
pub(crate) const OPEN_TIMEOUT: u32 = 60;
/// Lines of the handover file that the image knows beforehand. Its postinst adds the kernel's digest.
const FILE: &str = "share/vm/watchdog";

impl Takeover {
    /// What the initrd does.
    pub(super) fn in_initrd(self) -> &'static str {
        match self {
            Self::HangsBefore => "hang",
            Self::HangsAfter => "driver hang",
            Self::Fed | Self::Unopened => "driver",
        }
    }

    /// Adds what the release needs to the tree of a slot; without a handover file if none `is_said`.
    pub(super) fn add_to(self, slot: &Path, is_said: bool) -> Result<()> {
        if is_said {
            let open_timeout = match self {
                // The hang need not be waited out.
                Self::HangsAfter => 30,
                _ => OPEN_TIMEOUT,
            };
            let lines = format!("ITCO_TIMEOUT={ITCO_TIMEOUT}\nOPEN_TIMEOUT={open_timeout}\nFED_BY=systemd\n");
            files::write(&slot.join(FILE), lines.as_bytes())?;
        }
        if self == Self::Unopened {
            let (path, contents) = super::hang::NO_WATCHDOG;
            files::write(&slot.join(path), contents)?;
        }
        Ok(())
    }
}
