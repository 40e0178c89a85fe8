//! Fields of journal entries: those of an attempt, which every entry carries while one is under way,
//! and those of the event itself, apart from its text.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};

use super::chain;
use crate::net::redact;
use crate::printable::printable;

/// The fields of the attempt under way. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct AttemptFields(Arc<Mutex<Position>>);

#[derive(Debug, Default)]
struct Position {
    /// Number of attempts since the start of the daemon.
    attempts: u64,
    under_way: bool,
    version: Option<String>,
    slot: Option<String>,
}

/// The values that an attempt's entries carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AttemptLabels {
    pub(super) number: u64,
    pub(super) version: Option<String>,
    pub(super) slot: Option<String>,
}

impl AttemptFields {
    /// Begins an attempt: an update check, and all that follows from it.
    pub fn begin(&self) {
        self.change(|position| {
            *position = Position {
                attempts: position.attempts.saturating_add(1),
                under_way: true,
                ..Position::default()
            };
        });
    }

    /// Sets the attempt's version and slot.
    pub fn aim(&self, version: &str, slot: &str) {
        self.change(|position| {
            (position.version, position.slot) = (Some(version.to_owned()), Some(slot.to_owned()));
        });
    }

    /// Ends the attempt.
    pub fn end(&self) {
        self.change(|position| position.under_way = false);
    }

    pub(super) fn attempt(&self) -> Option<AttemptLabels> {
        self.change(|position| {
            position.under_way.then(|| AttemptLabels {
                number: position.attempts,
                version: position.version.clone(),
                slot: position.slot.clone(),
            })
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Position) -> T) -> T {
        // Plain values: a panic elsewhere cannot have left them half written.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

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

    /// With its causes: "cannot write record X" alone doesn't say that the disk is full.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record(field, &chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, &format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write it")]
    struct Failed(#[source] std::io::Error);

    /// Keeps the text of the last event.
    struct Collector(Arc<Mutex<String>>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Collector {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            let mut fields = EventFields::default();
            event.record(&mut fields);
            *self.0.lock().unwrap() = fields.text;
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let said = Arc::new(Mutex::new(String::new()));
        let collector = tracing_subscriber::registry().with(Collector(Arc::clone(&said)));
        let error = Failed(std::io::ErrorKind::StorageFull.into());
        tracing::subscriber::with_default(collector, || {
            tracing::warn!(error = &error as &dyn Error, "the record is missing");
        });
        assert_eq!(
            *said.lock().unwrap(),
            "the record is missing error=cannot write it: no storage space"
        );
    }

    #[test]
    fn a_line_belongs_to_the_attempt_under_way_or_to_none() {
        let attempt_fields = AttemptFields::default();
        assert_eq!(attempt_fields.attempt(), None);
        attempt_fields.begin();
        attempt_fields.aim("2.0.0", "USR-B");
        attempt_fields.end();
        assert_eq!(attempt_fields.attempt(), None);
        attempt_fields.begin();
        let second = AttemptLabels {
            number: 2,
            version: None,
            slot: None,
        };
        assert_eq!(attempt_fields.attempt(), Some(second));
    }
}
