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
mod samples;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::printable::printable;
use crate::status::{Command, Overview, Snapshot};
use crate::systemd::ServiceManager;
use metrics_file::MetricsFile;

pub use metrics::{exposition, reference};

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
        let status = status_line(&snapshot.overview);
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

/// The state in one line, as `systemctl status` shows it: the summary, with progress while something is downloaded. Another line would be another message
/// to the service manager.
fn status_line(overview: &Overview) -> String {
    let mut line = printable(&overview.summary).replace(['\r', '\n'], " ");
    if let Some(first) = line.get(..1) {
        let first = first.to_uppercase();
        line.replace_range(..1, &first);
    }
    match &overview.progress.0 {
        Some(transfer) => format!("{line}: {transfer}"),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Transfer;

    #[test]
    fn progress_stands_behind_the_summary() {
        let mut overview = Overview {
            summary: "downloading 2345.0.0 into the other slot".to_owned(),
            ..Overview::default()
        };
        assert_eq!(status_line(&overview), "Downloading 2345.0.0 into the other slot");
        overview.progress = Some(Transfer {
            bytes_done: 35 << 20,
            bytes_total: 100 << 20,
            bytes_per_second: Some(5 << 20),
            eta_seconds: Some(13),
            content_package: None,
        })
        .into();
        assert_eq!(
            status_line(&overview),
            "Downloading 2345.0.0 into the other slot: 35 %, 35.0 MiB of 100.0 MiB, 5.0 MiB/s, 13 s left"
        );
    }

    #[test]
    fn a_state_without_words_or_with_foreign_ones_stays_as_it_is() {
        assert_eq!(status_line(&Overview::default()), "");
        let several = Overview {
            summary: "no update: a\nREADY=1\u{202e}".to_owned(),
            ..Overview::default()
        };
        assert_eq!(status_line(&several), "No update: a READY=1\\u{202e}");
        let foreign = Overview {
            summary: "éclair".to_owned(),
            ..Overview::default()
        };
        assert_eq!(status_line(&foreign), "éclair");
    }
}
