//! Time-outs of a machine, by its signs of life, since hosts differ in speed by an order of
//! magnitude.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for a machine whose console is not silent.
const LONGEST: Duration = Duration::from_secs(25 * 60);
/// Interval between two looks at the clock.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// A machine's last sign of life. Clones are of the same machine.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    last: Arc<Mutex<Instant>>,
    /// Longest silence on the console during a wait.
    silence: Duration,
}

impl Pulse {
    pub(super) fn new(silence: Duration) -> Self {
        Self {
            last: Arc::new(Mutex::new(Instant::now())),
            silence,
        }
    }

    /// Notes a sign of life.
    pub(super) fn beat(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Begins to wait.
    pub(super) fn wait(&self) -> Wait {
        Wait {
            pulse: self.clone(),
            begun: Instant::now(),
        }
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait in progress.
pub(super) struct Wait {
    pulse: Pulse,
    begun: Instant,
}

impl Wait {
    /// Whether the time-out has passed.
    pub(super) fn is_over(&self) -> bool {
        self.begun.max(self.pulse.last()).elapsed() >= self.pulse.silence || self.begun.elapsed() >= LONGEST
    }
}
