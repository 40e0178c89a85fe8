//! How long a machine is waited for: by its signs of life, since hosts differ in speed by an order of magnitude.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A machine that says nothing on its console for so long, while something is waited for, is dead.
const SILENCE: Duration = Duration::from_secs(10 * 60);
/// One that goes on talking without coming to the point.
const LONGEST: Duration = Duration::from_secs(25 * 60);
/// Between two looks at the clock.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// A machine's last sign of life. Clones are of the same machine.
#[derive(Debug, Clone)]
pub(super) struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// The machine has just said something.
    pub(super) fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Begins to wait.
    pub(super) fn wait(&self) -> Wait {
        Wait {
            pulse: self.clone(),
            begun: Instant::now(),
        }
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits.
pub(super) struct Wait {
    pulse: Pulse,
    begun: Instant,
}

impl Wait {
    /// Whether there is no point in waiting on.
    pub(super) fn is_over(&self) -> bool {
        self.begun.max(self.pulse.last()).elapsed() >= SILENCE || self.begun.elapsed() >= LONGEST
    }
}
