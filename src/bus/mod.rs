//! D-Bus: what operators and reboot managers see and may ask for. It sees the engine only as
//! [`Command`](crate::status::Command)s and [`Snapshot`](crate::status::Snapshot)s.
//!
//! Two objects. `/com/coreos/update1` with the interface `com.coreos.update1.Manager` is what the original
//! serves, to the letter. `/org/updateengine/Engine1` with `org.updateengine.Engine1` says what the first
//! can't: why, until when, how fast. Below it lie two more, objects of their own because a bus policy can tell
//! objects apart, but neither the properties of one nor its callers to us: `Diagnostics` has what not everybody may
//! read, and `Control` takes orders from those to whom the bus refuses `Engine1`'s methods, if polkit lets them.
//! The golden introspections and the policies stand in `dbus/` at the top of the project.
//!
//! The objects are served in two ways: under the name `com.coreos.update1` on a message bus
//! ([`serve_bus`]), or directly to whoever connects to a socket, for machines without a bus
//! ([`serve_peer`]); there `Control` is missing, since whoever gets in may do everything.
//!
//! ```text
//!  client ── method call ──▶ Dispatcher ─▶ Manager ── Command ──────────▶ engine
//!                                             │  ◀──────── answer ──────────┤
//!                                             │                             │ Status, in order, none lost
//!                                             ├── "all sent?" ──▶ Broadcaster ◀
//!  client ◀────── reply ──────────────────────┘                     │
//!  everybody ◀────────────────── StatusUpdate, PropertiesChanged ───┘
//!                                                                   │ watched
//!  client ◀──── properties ──── Dispatcher, in turns ◀─────────── Snapshot ◀─── engine
//!
//!  client ── order ──▶ Dispatcher ─▶ Control, and for Control1 polkit first ── Command ──▶ engine
//! ```
//!
//! Calls are taken in and answered by a dispatcher of our own and not by the library's: that one makes a task of each
//! call, or has each wait for all before it, and bounds nobody. What ours does stands there.
//!
//! A reply waits until every status that the engine announced before its answer has been signalled,
//! so that a client never learns from a reply what it should have seen in a signal first: the
//! original was one thread, and its clients may rely on that order.

mod barrier;
mod broadcaster;
mod call;
mod control;
mod dispatcher;
mod engine1;
mod engine_handle;
mod error;
mod manager;
mod nodes;
mod objects;
#[cfg(test)]
mod pair;
mod peer;
mod polkit;
mod properties;
mod proxy;
mod record;
mod service;
mod turns;
mod unanswered;

pub use error::BusError;
pub use proxy::{Control1Proxy, Engine1Proxy, ManagerProxy, StatusFields};
pub use service::{Service, serve_bus, serve_peer};

/// The well-known name on the system bus.
pub const SERVICE: &str = "com.coreos.update1";
/// The path of the object that the original has too.
pub const PATH: &str = "/com/coreos/update1";
/// Its interface.
pub const INTERFACE: &str = "com.coreos.update1.Manager";
/// The path of the object that says why.
pub const ENGINE_PATH: &str = "/org/updateengine/Engine1";
/// Its interface.
pub const ENGINE_INTERFACE: &str = "org.updateengine.Engine1";
/// The path of the object with what not everybody may read.
pub const DIAGNOSTICS_PATH: &str = "/org/updateengine/Engine1/Diagnostics";
/// Its interface.
pub const DIAGNOSTICS_INTERFACE: &str = "org.updateengine.Diagnostics1";
/// The path of the object that takes orders from those whom polkit lets give them.
pub const CONTROL_PATH: &str = "/org/updateengine/Engine1/Control";
/// Its interface.
pub const CONTROL_INTERFACE: &str = "org.updateengine.Control1";
