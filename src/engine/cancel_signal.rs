//! The signal that ends an attempt early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// Ends an attempt early: an operator breaks it off, or the daemon ends. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct CancelSignal {
    token: CancellationToken,
    by_operator: Arc<AtomicBool>,
}

impl CancelSignal {
    /// A signal that `stop` gives, too.
    pub(super) fn child_of(stop: &CancellationToken) -> Self {
        Self {
            token: stop.child_token(),
            by_operator: Arc::default(),
        }
    }

    /// An operator breaks the attempt off.
    pub(super) fn cancel_by_operator(&self) {
        // Before the token, so that nobody who sees that one cancelled takes it for the daemon's
        // end.
        self.by_operator.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Whether an operator has given it, before or after the daemon's end.
    pub(super) fn is_by_operator(&self) -> bool {
        self.by_operator.load(Ordering::Acquire)
    }

    /// What the phases wait for.
    pub(super) const fn token(&self) -> &CancellationToken {
        &self.token
    }
}
