//! systemd, as this project uses it: units and their states, programs run as transient units,
//! reboots, and notifications to the service manager.
//!
//! | what | where |
//! |---|---|
//! | the proxies of its D-Bus interfaces, states of units, the order to reboot | [`Systemd`] |
//! | its units with their properties, and when it reloads them | [`UnitReader`] |
//! | a program as a service of its own, with its properties | [`TransientUnit`], [`TransientService`] |
//! | `sd_notify`: ready, status line, watchdog | [`ServiceManager`] |
//!
//! Each use opens a connection of its own to the system bus, so that a bus that was restarted is no
//! trouble.

mod manager;
mod notify;
mod transient_unit;
mod units;

pub use manager::{Systemd, SystemdError, UnitState};
pub use notify::ServiceManager;
pub use transient_unit::{DeviceLimits, TransientService, TransientUnit};
pub use units::{ListedUnit, Reloads, UnitReader};
