//! Behaviour of a release in the guest.

/// Behaviour of a release once it is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// It works.
    Good,
    /// Its first process ends: the kernel panics.
    Panics,
    /// It stops before anything but the watchdog runs.
    Hangs,
    /// It comes up without the node's application.
    Unhealthy,
    /// The same, and no unit is required.
    Unjudged,
    /// The same as `Unhealthy`, and its daemon keeps its records where no other version finds them.
    Forgetful,
    /// A required unit is not started: on trial until it is marked good by hand.
    Waits,
    /// It comes up without the daemon.
    Unattended,
    /// It doesn't merge the extensions of the release before: its os-release is another one.
    LosesExtensions,
    /// It lacks the helper, which a unit of the operator's runs.
    LacksHelper,
    /// Its helper ends at once.
    BreaksHelper,
}

impl Conduct {
    /// Setting for the initrd.
    pub(super) fn in_initrd(self) -> &'static str {
        match self {
            Self::Panics => "panic",
            Self::Hangs => "hang",
            Self::Good
            | Self::Unhealthy
            | Self::Unjudged
            | Self::Forgetful
            | Self::Waits
            | Self::Unattended
            | Self::LosesExtensions
            | Self::LacksHelper
            | Self::BreaksHelper => "good",
        }
    }

    /// Whether the node's application works.
    pub(super) fn works(self) -> bool {
        !matches!(self, Self::Unhealthy | Self::Unjudged | Self::Forgetful)
    }

    /// Settings of the health gate: required units, settling time and deadline.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Self::Good
            | Self::Panics
            | Self::Hangs
            | Self::Unattended
            | Self::LosesExtensions
            | Self::LacksHelper
            | Self::BreaksHelper => "HEALTH_UNITS=vm-app\nHEALTH_SETTLE=5\n",
            Self::Unhealthy | Self::Forgetful => "HEALTH_UNITS=vm-app\nHEALTH_SETTLE=5\nHEALTH_DEADLINE=15\n",
            Self::Unjudged => "HEALTH_SETTLE=5\nHEALTH_DEADLINE=15\n",
            Self::Waits => "HEALTH_UNITS=vm-later\nHEALTH_SETTLE=5\nHEALTH_DEADLINE=0\n",
        }
    }
}
