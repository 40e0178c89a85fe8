//! The tracing layers: entries for journald, in its native protocol, and text for standard error.
//!
//! An entry is a datagram of fields (systemd's `JOURNAL_NATIVE_PROTOCOL`):
//!
//! ```text
//!  NAME=value\n                                        a value of one line
//!  NAME\n  length, 64 bits little endian  value  \n    any value
//! ```

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::fields::EventFields;
use super::{AttemptFields, SOCKET};
use crate::host::Host;

/// A datagram in the making.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct JournalEntry(Vec<u8>);

impl JournalEntry {
    /// Adds a field. `name` is one of ours: capitals, digits and underscores, a capital first.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            // A value is never longer than memory, whose addresses have 64 bits at most.
            let length = value.len() as u64;
            self.0.push(b'\n');
            self.0.extend_from_slice(&length.to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }

    /// What is to be sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// journald, as a layer of a subscriber.
#[derive(Debug)]
pub struct JournalLayer {
    socket: UnixDatagram,
    path: PathBuf,
    attempt_fields: AttemptFields,
    identifier: &'static str,
}

impl JournalLayer {
    /// The journal of `host`, if standard error goes there already: where it was redirected, the
    /// lines are wanted there. Every entry carries `attempt_fields`.
    #[must_use]
    pub fn of(host: &Host, attempt_fields: AttemptFields) -> Option<Self> {
        let path = host.path(SOCKET);
        if !goes_to_the_journal() || !path.exists() {
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        Some(Self {
            socket,
            path,
            attempt_fields,
            identifier: "update_engine",
        })
    }

    /// The same in the name of another program.
    #[must_use]
    pub const fn called(mut self, identifier: &'static str) -> Self {
        self.identifier = identifier;
        self
    }

    fn entry(&self, event_fields: &EventFields, level: Level) -> JournalEntry {
        let mut entry = JournalEntry::default();
        entry.add("MESSAGE", &event_fields.text);
        entry.add("PRIORITY", priority(level));
        entry.add("SYSLOG_IDENTIFIER", self.identifier);
        for (name, value) in &event_fields.fields {
            entry.add(name, value);
        }
        if let Some(attempt) = self.attempt_fields.attempt() {
            let number = Some(attempt.number.to_string());
            for (name, value) in [
                ("UPDATE_ATTEMPT", number),
                ("UPDATE_VERSION", attempt.version),
                ("UPDATE_SLOT", attempt.slot),
            ] {
                if let Some(value) = value.filter(|_| !event_fields.has(name)) {
                    entry.add(name, &value);
                }
            }
        }
        entry
    }
}

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut event_fields = EventFields::default();
        event.record(&mut event_fields);
        let entry = self.entry(&event_fields, *event.metadata().level());
        // By its path each time, since journald may be started anew. What is too long for a
        // datagram goes line by line; so does everything while nobody listens, which journald may
        // still find in the stream later.
        if self.socket.send_to(entry.as_bytes(), &self.path).is_err() {
            let _ = writeln!(io::stderr(), "{}", event_fields.text);
        }
    }
}

/// The text of an event on standard error: without what is for the journal alone.
#[derive(Debug, Clone, Copy)]
struct PlainLayer;

impl<'w> FormatFields<'w> for PlainLayer {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> std::fmt::Result {
        let mut event_fields = EventFields::default();
        fields.record(&mut event_fields);
        writer.write_str(&event_fields.text)
    }
}

/// Whether standard error is the stream that systemd has told us of: `JOURNAL_STREAM`, device and
/// inode.
/// Begins logging: to the journal by `layer`, or as text on standard error where there is none.
/// `RUST_LOG` chooses what by level and module (`info,update_engine::fetch=debug`), everything from `info` on by default.
pub fn start_logging(layer: Option<JournalLayer>) {
    // Not `EnvFilter`, which also knows spans and values: its regular expressions are a twentieth of the program, and resident.
    let wanted = std::env::var("RUST_LOG")
        .ok()
        .and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let text = layer.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(false)
            .fmt_fields(PlainLayer)
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .with(text)
        .init();
}

fn goes_to_the_journal() -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let ours = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let ours = ours.and_then(|stream| stream.metadata());
    ours.is_ok_and(|stream| told == format!("{}:{}", stream.dev(), stream.ino()))
}

/// As syslog counts.
const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_can_not_pass_for_fields() {
        let mut entry = JournalEntry::default();
        entry.add("MESSAGE", "said:\nPRIORITY=0");
        entry.add("PRIORITY", "6");
        assert_eq!(
            entry.as_bytes(),
            b"MESSAGE\n\x10\0\0\0\0\0\0\0said:\nPRIORITY=0\nPRIORITY=6\n"
        );
    }
}
