//! The facts about the node that go with the state: read after each event, published with it, and
//! compared with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Engine;
use crate::engine::updater::Updater;
use crate::engine::{BootsNext, Event, NodeFacts, Phase};

/// The facts that belong to a change of state are waited for so long: a disk that hangs must not
/// keep the change itself from being told.
const FACTS_PATIENCE: Duration = Duration::from_secs(5);

impl<U: Updater> Engine<U> {
    /// One look at a time: what changes meanwhile is seen by the next one.
    pub(super) fn read_facts(&mut self) {
        if self.fact_reads.is_empty() {
            let updater = Arc::clone(&self.updater);
            self.fact_reads.spawn(async move { updater.node_facts().await });
        } else {
            self.publisher.is_outdated = true;
        }
    }

    pub(super) fn facts_read(&mut self, facts: NodeFacts) {
        self.publisher.facts = facts;
        self.is_table_new = !std::mem::take(&mut self.publisher.is_outdated);
        if !self.is_table_new {
            self.read_facts();
        }
    }

    /// Looks at the node as it is now, and publishes that together with the state. What can't be
    /// read in time is published later.
    pub(super) async fn refresh_facts(&mut self) {
        self.read_facts();
        let (stop, patience) = (self.stop.clone(), Instant::now() + FACTS_PATIENCE);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                read = self.fact_reads.join_next() => match read {
                    Some(Ok(facts)) => self.facts_read(facts),
                    Some(Err(error)) => self.died(&error),
                    None => break,
                },
                () = sleep_until(patience) => break,
            }
        }
        self.publisher.publish(&self.state);
    }

    /// Somebody may have changed the partition table by hand while the other slot is waited for:
    /// before anything is decided by that, it is looked at.
    pub(super) async fn reread_table(&mut self) {
        if self.state.phase().waits() || matches!(self.state.phase(), Phase::Unconfirmed(_)) {
            self.refresh_facts().await;
            if std::mem::take(&mut self.is_table_new) {
                self.compare_with_table().await;
            }
        }
    }

    pub(super) async fn compare_with_table(&mut self) {
        let boots_next = self.publisher.facts.boots_next;
        if boots_next == BootsNext::Running && self.state.phase() == &Phase::NeedReboot {
            tracing::warn!(
                "the partition table says that the running slot boots next: nothing waits for the reboot"
            );
            self.handle(Event::Overtaken).await;
        }
        let is_staged = matches!(self.state.phase(), Phase::Staged(_) | Phase::Unconfirmed(_));
        if boots_next == BootsNext::Other && is_staged {
            tracing::warn!("the partition table says that the staged update boots next");
            self.handle(Event::Activated(Ok(()))).await;
        }
    }
}
