//! The daemon's log: structured entries for journald where it listens, text on standard error where
//! it doesn't.
//!
//! ```text
//!  tracing event ─▶ EventFields: text   ─┬─ standard error is journald's ─▶ entry ─▶ datagram to its socket
//!                     AttemptFields ──────┘    (JOURNAL_STREAM)                 └─ too long, or nobody there ─┐
//!                                          └─ else ─▶ a line of text ─────────────────▶ standard error ◀──────┘
//! ```
//!
//! The convention by which both read one event: a field whose name is in capitals is for the
//! journal alone, under that name; any other is a part of the text. So the text is the same on both
//! ways, and what greps it finds it.
//!
//! The native protocol is spoken here and not by `tracing-journald`: that takes the values of all
//! fields out of the text, where people look for them, and can't be pointed to another socket than
//! the machine's.

mod fields;
mod layer;
mod message_id;

use std::error::Error;
use std::iter::successors;

pub use fields::AttemptFields;
pub use layer::{JournalEntry, JournalLayer, start_logging};
pub use message_id::{MessageId, reference};

/// The path of journald's socket.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// `error` and its sources in one line, joined by colons. The only place that prints chains.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut parts = vec![error.to_string()];
    parts.extend(causes(error));
    parts.join(": ")
}

/// The sources of `error`, the nearest first.
pub fn causes(error: &dyn Error) -> impl Iterator<Item = String> {
    successors(error.source(), |&cause| cause.source()).map(ToString::to_string)
}
