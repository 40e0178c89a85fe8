//! The armed deadline, as its keeper tells it in a line of JSON, and in a sentence for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::watchdog::WATCHDOG_DELAY;

/// An armed deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmedDeadline {
    /// The keeper's process.
    pub pid: u32,
    /// Seconds until it resets the node; none once it was disarmed.
    #[serde(default)]
    pub left: Option<u64>,
    /// Node of the watchdog behind it.
    #[serde(default)]
    pub watchdog: Option<String>,
    /// Why there is none, if there is none.
    #[serde(default)]
    pub no_watchdog: String,
    /// Whether the process was killed: the watchdog alone resets the node then, whatever the slot is.
    #[serde(default)]
    pub keeper_was_killed: bool,
}

impl ArmedDeadline {
    /// Whether nothing is armed any more, and nothing to be fed: its keeper is about to end.
    pub(super) const fn is_ending(&self) -> bool {
        self.left.is_none() && self.watchdog.is_none()
    }
}

impl fmt::Display for ArmedDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, watchdog, .. } = self;
        let Some(left) = self.left else {
            let watchdog = watchdog.as_deref().unwrap_or_default();
            return write!(f, "none; process {pid} feeds {watchdog}, which can't be stopped");
        };
        if self.keeper_was_killed {
            let watchdog = watchdog.as_deref().unwrap_or_default();
            return write!(
                f,
                "in about {left} s {watchdog} resets the node, also if its slot is good: process {pid}, which has armed \
                 it, was killed"
            );
        }
        write!(f, "in {left} s process {pid} resets the node")?;
        match watchdog {
            Some(watchdog) => write!(
                f,
                ", or {watchdog} {} s later if that process can't",
                WATCHDOG_DELAY.as_secs()
            ),
            None => write!(
                f,
                "; nothing would if that process couldn't: {}",
                self.no_watchdog
            ),
        }
    }
}
