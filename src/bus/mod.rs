//! The D-Bus interfaces that operators and reboot managers use. The bus knows the engine only by
//! what [`status`](crate::status) defines: [`Command`](crate::status::Command)s,
//! [`Status`](crate::status::Status)es and [`Snapshot`](crate::status::Snapshot)s.
//!
//! | object | interface | purpose |
//! |---|---|---|
//! | `/com/coreos/update1` | `com.coreos.update1.Manager` | the original's, to the letter |
//! | `/org/updateengine/Engine1` | `org.updateengine.Engine1` | why, until when, how fast; commands for root and the group |
//! | `…/Engine1/Diagnostics` | `org.updateengine.Diagnostics1` | output of health checks, for root |
//! | `…/Engine1/Control` | `org.updateengine.Control1` | the same commands for callers that polkit allows |
//!
//! The last two are objects of their own because a bus policy tells objects apart, but neither the
//! properties of one nor its callers. The golden introspections and the policies stand in `dbus/`
//! at the top of the project.
//!
//! The objects are served in two ways: under the name `com.coreos.update1` on a message bus
//! ([`serve_bus`]), or on a socket, for machines without a bus ([`serve_peer`]); there `Control` is
//! missing, since every caller that gets in may do everything.
//!
//! ```text
//!  client ── method call ──▶ Dispatcher ─▶ Manager ── Command ──────────▶ engine
//!                                             │  ◀──────── answer ──────────┤
//!                                             │                             │ Status, in order, none lost
//!                                             ├── "all sent?" ──▶ Broadcaster ◀
//!  client ◀────── reply ──────────────────────┘                     │
//!  all clients ◀──────────────── StatusUpdate, PropertiesChanged ───┘
//!                                                                   │ watched
//!  client ◀──── properties ──── Dispatcher, in turns ◀─────────── Snapshot ◀─── engine
//!
//!  client ── control request ──▶ Dispatcher ─▶ Control, and for Control1 polkit first ── Command ──▶ engine
//! ```
//!
//! Calls are taken in and answered by a dispatcher of our own and not by the library's: that one
//! makes a task of each call, or has each wait for all before it, and bounds no caller. See
//! `dispatcher`.
//!
//! A reply waits until every status that the engine announced before its answer has been signalled,
//! so that a client never learns from a reply what it should have seen in a signal first: the
//! original was one thread, and its clients may rely on that order.

mod broadcaster;
mod call;
mod control;
mod dispatcher;
mod limited_socket;
mod manager;
mod object_tree;
mod objects;
mod peer;
mod polkit;
mod properties;
mod proxy;
mod service;

pub use proxy::{Control1Proxy, Engine1Proxy, StatusFields, UpdateManagerProxy};
pub use service::{BusError, BusService, serve_bus, serve_peer};

/// The well-known name on the system bus.
pub const SERVICE: &str = "com.coreos.update1";
/// The path of the original's object.
pub const PATH: &str = "/com/coreos/update1";
/// The interface of the original's object.
pub const INTERFACE: &str = "com.coreos.update1.Manager";
/// The path of the engine's object.
pub const ENGINE_PATH: &str = "/org/updateengine/Engine1";
/// The interface of the engine's object.
pub const ENGINE_INTERFACE: &str = "org.updateengine.Engine1";
/// The path of the diagnostics' object.
pub const DIAGNOSTICS_PATH: &str = "/org/updateengine/Engine1/Diagnostics";
/// The interface of the diagnostics' object.
pub const DIAGNOSTICS_INTERFACE: &str = "org.updateengine.Diagnostics1";
/// The path of the object that takes control requests of callers that polkit allows.
pub const CONTROL_PATH: &str = "/org/updateengine/Engine1/Control";
/// The interface of the object for control requests.
pub const CONTROL_INTERFACE: &str = "org.updateengine.Control1";
