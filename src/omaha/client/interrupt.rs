//! Hanging up from outside.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use ureq::Agent;

/// Shared between a blocking thread, which registers each connection's agent before it uses it, and the
/// future that waits for the thread.
#[derive(Clone, Default)]
pub(super) struct Interrupt(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Working(Agent),
    HungUp,
}

impl Interrupt {
    /// From now on `agent` is the one to hang up.
    pub(super) fn register(&self, agent: &Agent) -> io::Result<()> {
        // No code panics while it holds this lock.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::HungUp) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        *state = State::Working(agent.clone());
        Ok(())
    }

    /// Hangs up when dropped; of no consequence once the work is done.
    pub(super) fn guard(&self) -> Guard {
        Guard(self.clone())
    }
}

pub(super) struct Guard(Interrupt);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Working(agent) = std::mem::replace(&mut *state, State::HungUp) {
            agent.shutdown();
        }
    }
}
