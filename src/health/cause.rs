//! The cause for which a slot is not healthy.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A requirement that is not met, with its output. Kept durably when a slot is given up, so that it
/// can be read after the rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A unit is not active.
    Unit {
        /// The unit's name.
        name: String,
        /// The unit's state, such as `failed`.
        state: String,
        /// The last lines of its journal of this boot, as far as they could be read.
        journal: String,
    },
    /// A check did not exit with 0.
    Check {
        /// The check's file.
        path: String,
        /// The way it ended, such as its exit code.
        ended: String,
        /// The end of its output.
        output: String,
    },
    /// What the version before had is gone, and that is the image's doing.
    Lost {
        /// What, each in a sentence.
        what: Vec<String>,
    },
    /// The slot was not marked good by `TRIAL_DEADLINE`, and the node was reset.
    Hang {
        /// The units that were still starting, as far as that was known.
        starting: Vec<String>,
    },
    /// Units are required, and systemd can't be asked.
    Systemd {
        /// The reason for which it can't be asked.
        reason: String,
    },
}

/// What the summary of every [`Cause::Hang`] begins with.
const HANG: &str = "did not come up in time";

impl Cause {
    /// Whether `summary` is that of a [`Cause::Hang`].
    #[must_use]
    pub fn is_hang(summary: &str) -> bool {
        summary.starts_with(HANG)
    }

    /// The requirement that is not met, without the output of units and checks, which not everyone
    /// may read.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Unit { name, state, .. } => format!("unit {name} is {state}"),
            Self::Check { path, ended, .. } => format!("health check {path} {ended}"),
            Self::Lost { what } => lost(what),
            Self::Hang { starting } if starting.is_empty() => HANG.to_owned(),
            Self::Hang { starting } => {
                let starting = listed(starting, ", ", " and ");
                format!("{HANG}: {starting} had not started")
            }
            Self::Systemd { reason } => format!("systemd can't be asked about units: {reason}"),
        }
    }

    /// The last lines of the unit or the check; may be empty.
    #[must_use]
    pub fn output(&self) -> &str {
        match self {
            Self::Unit { journal, .. } => journal,
            Self::Check { output, .. } => output,
            Self::Lost { .. } | Self::Hang { .. } | Self::Systemd { .. } => "",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        match self.output() {
            "" => Ok(()),
            output => write!(f, ": {output}"),
        }
    }
}

/// Sentences that are told; of more their number.
const MOST_TOLD: usize = 8;

fn lost(what: &[String]) -> String {
    format!("lost with the update: {}", listed(what, "; ", "; and "))
}

/// The first of `texts`, and the number of the rest.
fn listed(texts: &[String], comma: &str, and: &str) -> String {
    let told: Vec<&str> = texts.iter().take(MOST_TOLD).map(String::as_str).collect();
    let rest = texts.len().saturating_sub(MOST_TOLD);
    let and_more = if rest == 0 {
        String::new()
    } else {
        format!("{and}{rest} more")
    };
    told.join(comma) + &and_more
}

/// The end of `text` in at most `most` bytes, at the start of a character.
pub(super) fn tail(text: &str, most: usize) -> &str {
    let text = text.trim_end();
    let mut from = text.len().saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_text_is_cut_between_characters() {
        assert_eq!(tail("aäöü", 3), "ü");
        assert_eq!(tail("short\n", 100), "short");
        assert_eq!(tail("", 0), "");
    }

    #[test]
    fn of_many_things_lost_the_first_are_told() {
        let lost = |number: usize| Cause::Lost {
            what: (0..number).map(|number| number.to_string()).collect(),
        };
        assert_eq!(lost(2).to_string(), "lost with the update: 0; 1");
        assert_eq!(
            lost(10).summary(),
            "lost with the update: 0; 1; 2; 3; 4; 5; 6; 7; and 2 more"
        );
    }

    #[test]
    fn a_hang_names_the_units_that_had_not_started() {
        let hang = |units: &[&str]| Cause::Hang {
            starting: units.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(hang(&[]).to_string(), "did not come up in time");
        assert_eq!(
            hang(&["a.service", "b.mount"]).to_string(),
            "did not come up in time: a.service, b.mount had not started"
        );
    }

    #[test]
    fn a_cause_says_what_how_and_the_last_words() {
        let cause = Cause::Check {
            path: "/etc/update-engine/health.d/api".into(),
            ended: "ended with exit code 7".into(),
            output: "no answer on port 6443".into(),
        };
        assert_eq!(
            cause.to_string(),
            "health check /etc/update-engine/health.d/api ended with exit code 7: no answer on port 6443"
        );
    }
}
