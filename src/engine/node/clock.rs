//! The wall clock: the signal that it was set, and the times in the records that were noted before.

use std::sync::{Arc, OnceLock};

use super::attempt_history::AttemptHistory;
use super::machine::Machine;
use super::update_history::UpdateHistory;
use crate::host::ClockWatch;
use crate::journal::chain;
use crate::policy::ClockStep;

/// Tells that the clock was set, from the first question on; never, where the kernel can't. Clones
/// are the same one.
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

/// Times that this process has noted in records and preferences.
pub(super) struct NotedTimes {
    pub(super) machine: Arc<Machine>,
    pub(super) history: Arc<UpdateHistory>,
    pub(super) attempts: Arc<AttemptHistory>,
}

impl NotedTimes {
    /// The clock was set: they are corrected.
    pub(super) fn correct(&self, step: &ClockStep) {
        self.attempts.clock_stepped(step);
        let stays = |what: &str, error: &dyn std::error::Error| {
            tracing::warn!(
                "the clock was set, and {what} stays as it was noted: {}",
                chain(error)
            );
        };
        if let Err(error) = self.history.clock_stepped(step) {
            stays("what this machine has done", &error);
        }
        let prefs = self.machine.prefs();
        if let Err(error) = prefs.correct_times(|time| step.corrected_time(time)) {
            stays("the time of the server's last answer", &error);
        }
    }
}
