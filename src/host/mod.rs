//! The machine around the daemon: every absolute path goes through [`Host`], so that the same code
//! runs against `/` on a node and against a directory in tests and demonstrations.
//!
//! | what | where |
//! |---|---|
//! | files of other programs: present, missing or unreadable | [`Host::read`], [`Unreadable`] |
//! | identity of this machine, for the server | [`Identity`] |
//! | mount of a freshly written slot, read-only | [`mount`] |
//! | the image's own programs as subprocesses | [`subprocess`] |
//! | pressure on processor, disk and memory | [`Host::under_pressure`] |
//! | time since the first start in this boot | [`Host::since_first_start`] |
//! | monotonic clock, and changes of the wall clock | [`since_boot`], [`ClockWatch`] |
//! | production or developer mode | [`Host::mode`] |

mod clock;
mod files;
mod first_start;
mod identity;
pub mod mount;
mod pressure;
pub mod subprocess;

use std::path::{Path, PathBuf};

pub use clock::{ClockWatch, since_boot};
pub use files::{Unreadable, free_bytes};
pub use identity::{Identity, NodeMode, machine};
pub use pressure::{Percent, PressureLimits};

/// The root under which the daemon finds configuration, state, `/boot` and `/run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// A host whose files live below `root`; `/` on a node.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether this is the real machine (root `/`).
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Whether systemd runs this machine, so that programs can be run as its units.
    #[must_use]
    pub fn has_systemd(&self) -> bool {
        self.is_real() && self.seems_run_by_systemd()
    }

    /// Whether systemd runs this machine, or the one that a root other than `/` stands for.
    #[must_use]
    pub fn seems_run_by_systemd(&self) -> bool {
        self.path("/run/systemd/system").is_dir()
    }

    /// Path in our file system of the absolute path `absolute` of the host.
    #[must_use]
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }
}
