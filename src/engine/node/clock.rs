//! The clock of the wall: when it is set, and what becomes of the times in the records.

use std::sync::{Arc, OnceLock};

use super::Node;
use crate::host::ClockWatch;
use crate::journal::chain;
use crate::policy::ClockStep;

/// Tells that the clock was set, from the first question on; never, where the kernel can't. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct ClockSignal(Arc<OnceLock<Option<ClockWatch>>>);

impl ClockSignal {
    pub(super) async fn was_set(&self) {
        let watch = self.0.get_or_init(|| {
            ClockWatch::new()
                .inspect_err(|error| tracing::warn!("nobody tells when the clock is set: {error}"))
                .ok()
        });
        match watch {
            Some(watch) => watch.was_set().await,
            None => std::future::pending().await,
        }
    }
}

impl Node {
    /// The clock was set: what this process has noted in the records is corrected. Blocks.
    pub(super) fn correct_times(&self, step: &ClockStep) {
        self.change_attempts(|attempts| attempts.clock_stepped(step));
        let stays = |what: &str, error: &dyn std::error::Error| {
            tracing::warn!(
                "the clock was set, and {what} stays as it was noted: {}",
                chain(error)
            );
        };
        if let Err(error) = self.change_history(|history| history.clock_stepped(step)) {
            stays("what this machine has done", &error);
        }
        if let Err(error) = self.prefs.correct_times(|time| step.corrected_time(time)) {
            stays("the time of the server's last answer", &error);
        }
    }
}
