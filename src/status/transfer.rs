//! A download's progress, as a record and as one line of text.

use std::fmt;

use serde::{Deserialize, Serialize};
use zbus::wire::{Type, Variant};

use crate::amounts::{bytes, duration};

/// The progress of a download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type, Variant)]
#[zbus(signature = "dict")]
pub struct Transfer {
    /// Bytes of the payload that have come, including those of an earlier attempt.
    pub bytes_done: u64,
    /// Size of the payload in bytes.
    pub bytes_total: u64,
    /// Rate over the last seconds; none until there is one.
    pub bytes_per_second: Option<u64>,
    /// Seconds to the end of the download at this rate; none without a rate.
    pub eta_seconds: Option<u64>,
}

impl Transfer {
    /// Percentage of the payload that is there, rounded down: 0 to 100.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let done = self.bytes_done.saturating_mul(100);
        done.checked_div(self.bytes_total).unwrap_or(100).min(100)
    }
}

/// The progress in one line.
impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, total) = (bytes(self.bytes_done), bytes(self.bytes_total));
        write!(f, "{} %, {done} of {total}", self.percent())?;
        if let Some(rate) = self.bytes_per_second {
            write!(f, ", {}/s", bytes(rate))?;
        }
        if let Some(eta) = self.eta_seconds {
            write!(f, ", {} left", duration(eta))?;
        }
        Ok(())
    }
}
