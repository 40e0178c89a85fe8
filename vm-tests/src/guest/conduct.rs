//! What the guest does once a release has booted.

/// How a release behaves once it is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// It works.
    Good,
    /// Its first process ends: the kernel panics.
    Panics,
    /// It stops before anything but the watchdog runs.
    Hangs,
    /// It comes up, but for the unit that the node is there for.
    Unhealthy,
}

impl Conduct {
    /// What the initrd is told.
    pub(super) fn in_initrd(self) -> &'static str {
        match self {
            Self::Good | Self::Unhealthy => "good",
            Self::Panics => "panic",
            Self::Hangs => "hang",
        }
    }
}
