//! Monitoring of the daemon from outside: the service manager's status line and watchdog, and the
//! metrics file for Prometheus.
//!
//! ```text
//!  engine ─ Snapshot ──▶ Monitor ─┬─ status line ─▶ ServiceManager
//!    ▲                      │     └─ metrics ─▶ file, replaced as a whole ─▶ node_exporter's textfile collector
//!    └── GetStatus ─────────┘ for the watchdog: an engine that answers isn't stuck
//! ```
//!
//! Nothing here is waited for, and nothing that fails here disturbs an update.

mod exposition;
mod metrics;
mod metrics_file;
mod status_line;

pub use metrics::{exposition, reference};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::status::{Command, Snapshot};
use crate::systemd::ServiceManager;
use metrics_file::MetricsFile;

/// Passes on what the engine publishes.
pub struct Monitor {
    snapshot: watch::Receiver<Snapshot>,
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
    manager: Option<ServiceManager>,
    metrics: MetricsFile,
    /// What the manager was told last.
    status: String,
}

impl Monitor {
    /// For the machine `host`, until `stop`. Looks for a service manager in our environment.
    #[must_use]
    pub fn new(
        host: Host,
        snapshot: watch::Receiver<Snapshot>,
        commands: mpsc::Sender<Command>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            snapshot,
            commands,
            stop,
            manager: ServiceManager::from_env(),
            metrics: MetricsFile::new(host),
            status: String::new(),
        }
    }

    /// Says that the daemon is ready, and everything after that.
    pub async fn run(mut self) {
        let mut watchdog = ServiceManager::watchdog().map(|limit| interval(limit / 2));
        if let Some(manager) = &self.manager {
            manager.ready();
        }
        loop {
            self.pass_on().await;
            tokio::select! {
                () = self.stop.cancelled() => break,
                Ok(()) = self.snapshot.changed() => {}
                () = sleep_until(self.metrics.due()) => {}
                () = tick(&mut watchdog) => self.say_alive().await,
            }
        }
        if let Some(manager) = &self.manager {
            manager.stopping();
        }
    }

    async fn pass_on(&mut self) {
        let snapshot = self.snapshot.borrow_and_update().clone();
        let status = status_line::of(&snapshot.overview);
        if let Some(manager) = self.manager.as_ref().filter(|_| status != self.status) {
            manager.status(&status);
            self.status = status;
        }
        self.metrics.offer(&snapshot, Instant::now()).await;
    }

    async fn say_alive(&self) {
        let (reply, answer) = oneshot::channel();
        let asked = self.commands.send(Command::GetStatus(reply)).await;
        if asked.is_ok()
            && answer.await.is_ok()
            && let Some(manager) = &self.manager
        {
            manager.alive();
        }
    }
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}
