//! A download in words.

use std::fmt;

use super::Transfer;
use crate::amounts::{bytes, duration};

impl Transfer {
    /// How much of the payload is there, rounded down: 0 to 100.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let done = self.bytes_done.saturating_mul(100);
        done.checked_div(self.bytes_total).unwrap_or(100).min(100)
    }
}

/// One line.
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
