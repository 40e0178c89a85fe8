//! Where answers wait until a test lets them go on: slowness without sleeping.

use std::sync::{Condvar, Mutex};

#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    permits: u64,
    open: bool,
}

impl Gate {
    /// Waits for a permit and uses it up.
    pub(super) fn pass(&self) {
        let state = self.state.lock().unwrap();
        let mut state = self
            .changed
            .wait_while(state, |s| s.permits == 0 && !s.open)
            .unwrap();
        state.permits = state.permits.saturating_sub(1);
    }

    /// Waits until the server ends.
    pub(super) fn wait_for_the_end(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |s| !s.open).unwrap());
    }

    pub(super) fn release(&self, permits: u64) {
        self.state.lock().unwrap().permits += permits;
        self.changed.notify_all();
    }

    pub(super) fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }
}
