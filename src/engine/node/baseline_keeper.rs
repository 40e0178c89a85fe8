//! The keeper of the baseline: records what is well while a good slot runs, seldom, and last when
//! the daemon ends.
//!
//! ```text
//!  up for ten minutes ─▶ recorded ─▶ an hour later, or systemd has reloaded its units ─▶ recorded …
//!                                                     the daemon ends ─▶ recorded, if it comes at once
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::blocking::Blocking;
use super::gate_records::GateRecords;
use super::machine::{Machine, unix_time};
use super::slot_control::partuuid;
use super::update_history::UpdateHistory;
use crate::config::RegressionMode;
use crate::health::baseline::{Baseline, Binding, Inventory, SystemState};
use crate::health::{InventoryError, WantedUnits, take_inventory};
use crate::journal::chain;
use crate::systemd::{Reloads, UnitReader};

/// Nothing is recorded before the system has been up for so long.
const SETTLED: Duration = Duration::from_secs(10 * 60);
/// Between two records where nothing happens: more than between two checks.
const RENEWAL: Duration = Duration::from_secs(60 * 60);
/// After a reload of systemd, so that several in a row are one.
const AFTER_RELOAD: Duration = Duration::from_secs(10);
/// A record that says the same is written anew after so many seconds, for its time.
const REWRITTEN: i64 = 24 * 60 * 60;
/// How long systemd may take for all answers together.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same while the daemon ends.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Keeps the baseline of the running slot.
pub(super) struct BaselineKeeper {
    pub(super) machine: Arc<Machine>,
    pub(super) history: Arc<UpdateHistory>,
    pub(super) records: Arc<GateRecords>,
}

impl BaselineKeeper {
    fn until_settled(&self) -> Duration {
        let up = self.machine.host().up().unwrap_or_default();
        SETTLED.saturating_sub(up)
    }

    /// What a record made now is bound to; nothing if none is to be made.
    fn binding(&self) -> Option<Binding> {
        let mode = self
            .machine
            .health_settings()
            .map(|settings| settings.regressions);
        if matches!(mode, Ok(RegressionMode::Off)) || !self.until_settled().is_zero() {
            return None;
        }
        let disk = self.machine.disk().ok()?;
        if !disk.attributes(disk.running()).ok()?.is_good() {
            return None;
        }
        let (slot, history) = (partuuid(&disk, disk.running()).ok()?, self.history.read());
        Some(Binding {
            image: history
                .payload_in(&slot)
                .and_then(|payload| history.images().of(payload)),
            version: self.machine.running_version(),
            slot,
        })
    }

    /// The record that this one would replace. One that can't be read is replaced by any.
    fn previous(&self) -> Option<Baseline> {
        self.records.baseline().unwrap_or_else(|error| {
            tracing::warn!("what was well counts as not recorded: {}", chain(&error));
            None
        })
    }

    fn record(&self, bound: Binding, now: &Inventory, previous: Option<&Baseline>) {
        let Some(record) = Baseline::of(bound, now, unix_time(), previous) else {
            return;
        };
        let is_news = previous.is_none_or(|previous| {
            let age = record.taken.0.saturating_sub(previous.taken.0);
            let same = Baseline {
                taken: previous.taken,
                up: previous.up,
                ..record.clone()
            };
            same != *previous || !(0..REWRITTEN).contains(&age)
        });
        if !is_news {
            return;
        }
        match self.records.save_baseline(&record) {
            Ok(()) => tracing::debug!(
                "what is well is recorded: {} units, {} extensions",
                record.units.len(),
                record.extensions.len() + record.confexts.len()
            ),
            Err(error) => tracing::warn!("what is well is not recorded: {}", chain(&error)),
        }
    }
}

impl Blocking<BaselineKeeper> {
    /// Records until `stop`, and once more then.
    pub(super) async fn keep(&self, stop: &CancellationToken) {
        let host = self.on_this_thread().machine.host();
        if !host.seems_run_by_systemd() {
            tracing::info!("systemd doesn't run this system: what is well is not recorded before an update");
            return;
        }
        let mut reloads = reloads().await;
        let mut due = Instant::now() + self.run(BaselineKeeper::until_settled).await;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(due) => {}
                goes_on = reloaded(&mut reloads) => {
                    if !goes_on {
                        reloads = None;
                    }
                    due = due.min(Instant::now() + AFTER_RELOAD);
                    continue;
                }
            }
            let renewed = tokio::select! {
                () = stop.cancelled() => break,
                renewed = self.renew(PATIENCE) => renewed,
            };
            if let Err(error) = renewed {
                tracing::warn!("what is well is not recorded: {}", chain(&error));
            }
            if reloads.is_none() {
                reloads = self::reloads().await;
            }
            let until_settled = self.run(BaselineKeeper::until_settled).await;
            due = Instant::now()
                + if until_settled.is_zero() {
                    RENEWAL
                } else {
                    until_settled
                };
        }
        if let Err(error) = self.renew(LAST_PATIENCE).await {
            tracing::debug!("what is well is not recorded at the end: {}", chain(&error));
        }
    }

    async fn renew(&self, patience: Duration) -> Result<(), InventoryError> {
        let found = self
            .run(|keeper| Some((keeper.binding()?, keeper.previous())))
            .await;
        let Some((bound, previous)) = found else {
            return Ok(());
        };
        let host = self.on_this_thread().machine.host();
        let mut now = take_inventory(host, WantedUnits::Loaded, patience).await?;
        if now.system == SystemState::Stopping {
            // Units are on their way down: only what was recorded is looked at.
            let Some(previous) = &previous else { return Ok(()) };
            now = take_inventory(host, WantedUnits::Of(previous), patience).await?;
            now.system = SystemState::Stopping;
        }
        self.run(move |keeper| keeper.record(bound, &now, previous.as_ref()))
            .await;
        Ok(())
    }
}

/// Reloads of systemd; nothing if they can't be heard of.
async fn reloads() -> Option<Reloads> {
    let listening = async { UnitReader::open().await?.reloads().await };
    let listening = tokio::time::timeout(LAST_PATIENCE, listening).await.ok()?;
    listening
        .inspect_err(|error| tracing::debug!("reloads of systemd are not heard of: {}", chain(error)))
        .ok()
}

async fn reloaded(reloads: &mut Option<Reloads>) -> bool {
    match reloads {
        Some(reloads) => reloads.next().await,
        None => std::future::pending().await,
    }
}
