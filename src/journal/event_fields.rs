//! An event's text, and its fields that are for the journal alone.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};

use crate::net::redact;
use crate::printable::printable;

/// An event's text and fields.
#[derive(Debug, Default)]
pub(super) struct EventFields {
    /// The text, as on standard error.
    pub(super) text: String,
    /// Name and value of each field, in the event's order.
    pub(super) fields: Vec<(&'static str, String)>,
}

impl EventFields {
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(own, _)| *own == name)
    }

    fn record(&mut self, field: &Field, value: &dyn fmt::Display) {
        let name = field.name();
        // Whatever it quotes: an answer, a setting, another program's words.
        let value = redact(&value.to_string());
        if is_for_the_journal(name) {
            self.fields.push((name, value));
            return;
        }
        let blank = if self.text.is_empty() { "" } else { " " };
        let value = printable(&value);
        // Writing to a string can't fail.
        let _ = match name {
            "message" => write!(self.text, "{value}"),
            name => write!(self.text, "{blank}{name}={value}"),
        };
    }
}

fn is_for_the_journal(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

impl Visit for EventFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if is_for_the_journal(field.name()) {
            self.record(field, &value);
        } else {
            // In a text it is quoted, so that one can see where it ends.
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, &format_args!("{value:?}"));
    }
}
