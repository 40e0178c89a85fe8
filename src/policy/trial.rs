//! What became of the last update: was its slot booted, and kept?
//!
//! ```text
//!   this boot is the one that installed it ────────────────────────────▶ NotBooted
//!   its slot runs ─────────────────────────────────────────────────────▶ Booted
//!   the other slot runs, and its slot could be picked but for tries ───▶ FellBack (Unexplained | Interrupted)
//!   anything else: priorities set by hand, slots written by others ────▶ Unknown
//! ```
//!
//! Versions are not compared: the same version may be installed again, and an older one too.

use serde::{Deserialize, Serialize};
use slots::SlotAttributes;

/// How the boot of the new slot ended, as far as this machine could note it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shutdown {
    /// Nothing was noted: a panic, a hang, a power cut, or it never came up.
    Unexplained,
    /// The daemon was asked to end while the slot was on trial: somebody rebooted too early.
    Orderly,
}

/// The last update that was committed here. Its JSON form is meant for a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUpdate {
    /// PARTUUID of the slot it was written to.
    pub partuuid: String,
    /// SHA-256 of its payload.
    pub payload_sha256: [u8; 32],
    /// Its version, for display.
    pub version: String,
    /// The boot during which it was committed.
    pub boot_id: String,
    /// How the last boot of its slot ended.
    pub shutdown: Shutdown,
}

/// The machine as it is now.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    /// This boot.
    pub boot_id: &'a str,
    /// PARTUUID of the slot that runs.
    pub running: &'a str,
    /// Attributes of the update's slot.
    pub attributes: SlotAttributes,
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The machine was not rebooted since.
    NotBooted,
    /// It runs.
    Booted,
    /// It was tried, and the other slot runs again.
    FellBack(Shutdown),
    /// Somebody changed what boots: nothing can be said.
    Unknown,
}

impl LastUpdate {
    /// What became of it.
    #[must_use]
    pub fn judge(&self, present: &Present<'_>) -> Verdict {
        let attributes = present.attributes;
        if present.boot_id == self.boot_id {
            Verdict::NotBooted
        } else if present.running == self.partuuid {
            Verdict::Booted
        } else if attributes.priority().get() > 0
            && attributes.tries().get() == 0
            && !attributes.is_successful()
        {
            Verdict::FellBack(self.shutdown)
        } else {
            Verdict::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use slots::{Priority, Tries};

    use super::*;

    fn attributes(tries: Tries) -> SlotAttributes {
        SlotAttributes::from_word(0)
            .with_priority(Priority::MAX)
            .on_trial(tries)
    }

    fn last(shutdown: Shutdown) -> LastUpdate {
        LastUpdate {
            partuuid: "b".into(),
            payload_sha256: [1; 32],
            version: "2".into(),
            boot_id: "before".into(),
            shutdown,
        }
    }

    #[test]
    fn each_ending_is_told_from_the_others() {
        let spent = attributes(Tries::NONE);
        let cases = [
            ("before", "a", attributes(Tries::ONE), Verdict::NotBooted),
            // Undone by hand, or the clock of boots stands still: nothing was tried.
            ("before", "a", spent, Verdict::NotBooted),
            ("after", "b", spent, Verdict::Booted),
            ("after", "b", spent.marked_good(), Verdict::Booted),
            ("after", "a", spent, Verdict::FellBack(Shutdown::Unexplained)),
            ("after", "a", attributes(Tries::ONE), Verdict::Unknown),
            ("after", "a", spent.marked_good(), Verdict::Unknown),
            ("after", "a", spent.unbootable(), Verdict::Unknown),
        ];
        for (boot_id, running, attributes, verdict) in cases {
            let present = Present {
                boot_id,
                running,
                attributes,
            };
            assert_eq!(
                last(Shutdown::Unexplained).judge(&present),
                verdict,
                "{present:?}"
            );
        }
    }

    #[test]
    fn a_trial_that_somebody_ended_is_told_apart() {
        let present = Present {
            boot_id: "after",
            running: "a",
            attributes: attributes(Tries::NONE),
        };
        let verdict = last(Shutdown::Orderly).judge(&present);
        assert_eq!(verdict, Verdict::FellBack(Shutdown::Orderly));
    }
}
