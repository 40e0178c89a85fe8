//! D-Bus: what operators and reboot managers see and may ask for. Sees [`Command`]s and [`Status`] only.
//!
//! One object, `/com/coreos/update1`, with the interface `com.coreos.update1.Manager`; its golden
//! introspection and the bus policy stand in `dbus/` at the top of the project. The same object is
//! served in two ways: under the name `com.coreos.update1` on a message bus ([`serve_system`],
//! [`serve_bus`]), or directly to whoever connects to a socket, for machines without a bus
//! ([`serve_peer`]).
//!
//! ```text
//!  client ── method call ──▶ Manager ── Command ──────────▶ engine
//!                               │  ◀──────── answer ──────────┤
//!                               │                             │ Status, in order, none lost
//!                               ├── "all sent?" ──▶ Announcer ◀
//!  client ◀────── reply ────────┘                     │
//!  everybody ◀───────────── StatusUpdate ─────────────┘
//! ```
//!
//! A reply waits until every status that the engine announced before its answer has been signalled,
//! so that a client never learns from a reply what it should have seen in a signal first: the
//! original was one thread, and its clients may rely on that order.

mod announcer;
mod error;
mod manager;
mod peer;
mod proxy;
mod service;
mod status;

pub use error::BusError;
pub use proxy::{ManagerProxy, StatusFields};
pub use service::{Service, serve_bus, serve_peer, serve_system};
pub use status::{Command, Operation, Status, WaitingSlot};

/// The well-known name on the system bus.
pub const SERVICE: &str = "com.coreos.update1";
/// The path of the one object.
pub const PATH: &str = "/com/coreos/update1";
/// The interface of the one object.
pub const INTERFACE: &str = "com.coreos.update1.Manager";
