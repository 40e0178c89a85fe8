//! The publisher of snapshots to the bus, and how often progress is in them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::engine::snapshot::{SnapshotSources, shown};
use crate::engine::updater::Progress;
use crate::engine::{Meter, NodeFacts, State};
use crate::status::{EngineState, NextCheck, Snapshot, Transfer};

/// Progress is published so often at most.
const BEAT: Duration = Duration::from_secs(1);

/// The sources of the snapshot beside the state, and the channel to its receivers.
pub(super) struct Publisher {
    snapshot: watch::Sender<Snapshot>,
    meter: Meter,
    /// What is measured, if it isn't the payload.
    content_package: Option<Arc<str>>,
    /// When progress was published last.
    beat: Option<Duration>,
    pub(super) facts: NodeFacts,
    /// Whether something has changed since the look at the node that is under way began.
    pub(super) is_outdated: bool,
    pub(super) next_check: Option<NextCheck>,
}

impl Publisher {
    pub(super) fn new(snapshot: watch::Sender<Snapshot>, facts: NodeFacts) -> Self {
        Self {
            snapshot,
            meter: Meter::default(),
            content_package: None,
            beat: None,
            facts,
            is_outdated: false,
            next_check: None,
        }
    }

    /// A further download begins.
    pub(super) fn restart_meter(&mut self) {
        self.meter = Meter::default();
        self.content_package = None;
        self.beat = None;
    }

    pub(super) fn progressed(&mut self, state: &State, progress: Progress, now: Duration) {
        let (done, total) = (progress.done, progress.total);
        self.content_package = progress.content_package;
        self.meter.note(done, total, now);
        let is_due = self.beat.is_none_or(|beat| now.saturating_sub(beat) >= BEAT);
        if is_due || done >= total {
            self.beat = Some(now);
            self.publish(state);
        }
    }

    fn transfer(&self) -> Option<Transfer> {
        let content_package = self.content_package.as_deref().map(shown);
        let transfer = self.meter.transfer()?;
        Some(Transfer {
            content_package,
            ..transfer
        })
    }

    pub(super) fn publish(&self, state: &State) {
        let is_downloading = state.phase().engine_state() == EngineState::Downloading;
        let sources = SnapshotSources {
            state,
            facts: &self.facts,
            transfer: self.transfer().filter(|_| is_downloading),
            next_check: self.next_check.clone(),
        };
        let snapshot = sources.snapshot();
        self.snapshot.send_if_modified(|published| {
            let is_new = *published != snapshot;
            *published = snapshot;
            is_new
        });
    }
}
