//! Sends each status to everybody who listens: once, in order, none lost.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use zbus::Connection;
use zbus::object_server::SignalEmitter;

use super::manager::ManagerSignals;
use super::{PATH, Status, StatusFields};

/// How long one listener may hold up a signal before it is dropped. A bus reads at once; a peer that
/// was stopped never does, and must not stop the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// The one task that signals. Owns the connections that listen.
pub(super) struct Announcer {
    statuses: mpsc::UnboundedReceiver<Status>,
    requests: mpsc::Receiver<oneshot::Sender<()>>,
    newcomers: mpsc::Receiver<Connection>,
    audience: Vec<Connection>,
}

/// Adds connections to the audience.
pub(super) type Admission = mpsc::Sender<Connection>;

/// Waits for what the engine has announced so far.
#[derive(Clone)]
pub(super) struct Flusher(mpsc::Sender<oneshot::Sender<()>>);

impl Flusher {
    /// Returns once every status that was in the queue before this call has been signalled, or the
    /// announcer has ended.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(done).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

impl Announcer {
    /// An announcer of `statuses`, and the handles of those who talk to it.
    pub(super) fn new(statuses: mpsc::UnboundedReceiver<Status>) -> (Self, Admission, Flusher) {
        let (admission, newcomers) = mpsc::channel(1);
        let (flusher, requests) = mpsc::channel(1);
        let announcer = Self {
            statuses,
            requests,
            newcomers,
            audience: Vec::new(),
        };
        (announcer, admission, Flusher(flusher))
    }

    /// Signals until the engine or the service is gone.
    ///
    /// The order of the branches is the contract: a connection hears what was announced after it was
    /// admitted, and a flush is answered only when no status is left in the queue.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                Some(connection) = self.newcomers.recv() => self.audience.push(connection),
                Some(status) = self.statuses.recv() => self.announce(&status).await,
                Some(done) = self.requests.recv() => drop(done.send(())),
                else => break,
            }
        }
    }

    async fn announce(&mut self, status: &Status) {
        let mut heard = Vec::with_capacity(self.audience.len());
        for connection in self.audience.drain(..) {
            match timeout(PATIENCE, emit(&connection, status)).await {
                Ok(Ok(())) => heard.push(connection),
                Ok(Err(error)) if connection.is_closed() => tracing::debug!(%error, "a listener has left"),
                Ok(Err(error)) => {
                    tracing::warn!(%error, ?status, "cannot signal a status");
                    heard.push(connection);
                }
                Err(_) => {
                    tracing::warn!("a listener does not read its signals; disconnecting it");
                    let _ = timeout(PATIENCE, connection.close()).await;
                }
            }
        }
        self.audience = heard;
    }
}

async fn emit(connection: &Connection, status: &Status) -> zbus::Result<()> {
    let (checked, progress, operation, version, size) = StatusFields::from(status.clone());
    SignalEmitter::new(connection, PATH)?
        .status_update(checked, progress, &operation, &version, size)
        .await
}
