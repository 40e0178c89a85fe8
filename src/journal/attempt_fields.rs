//! The journal's fields of an attempt, which every entry carries while one is under way.

use std::sync::{Arc, Mutex, PoisonError};

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

#[cfg(test)]
mod tests {
    use super::*;

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
