//! The broadcaster: sends each status to all connections, once, in order, none lost; and the
//! properties that changed.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use zbus::Connection;

use super::properties::Changes;
use super::{INTERFACE, PATH, StatusFields};
use crate::status::{Snapshot, SnapshotReceiver, Status};

/// How long one connection may hold up a signal before it is dropped. A bus reads at once; a peer
/// that was stopped never does, and must not stop the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// The one task that signals. Owns the connections that listen.
pub(super) struct Broadcaster {
    statuses: mpsc::UnboundedReceiver<Status>,
    snapshot: watch::Receiver<Snapshot>,
    /// The snapshot whose properties were signalled last.
    told: Snapshot,
    flushes: FlushRequests,
    changes: mpsc::Receiver<ConnectionChange>,
    connections: Vec<Connection>,
}

/// A signal to all connections.
enum Signal {
    Status(Status),
    Changes(Changes),
}

/// A change of the connections that are signalled to.
enum ConnectionChange {
    Added(Connection),
    /// One or more of them are closed.
    Closed,
}

/// The handle that adds connections to those that are signalled to, and drops closed ones.
#[derive(Clone)]
pub(super) struct Connections(mpsc::Sender<ConnectionChange>);

impl Connections {
    /// Signals to `connection` from now on. Fails only when nothing is signalled any more.
    pub(super) async fn add(&self, connection: Connection) {
        let _ = self.0.send(ConnectionChange::Added(connection)).await;
    }

    /// Drops closed connections: their descriptors are freed now, not at the next signal, which may
    /// be hours away.
    pub(super) async fn drop_closed(&self) {
        let _ = self.0.send(ConnectionChange::Closed).await;
    }
}

/// Requests at the barrier, each a channel to be answered.
type FlushRequests = mpsc::Receiver<oneshot::Sender<()>>;

/// The barrier: resolves when every status published so far has been signalled.
#[derive(Clone)]
pub(super) struct Barrier(mpsc::Sender<oneshot::Sender<()>>);

impl Barrier {
    /// A barrier, and the channel where its requests arrive.
    fn new() -> (Self, FlushRequests) {
        let (barrier, requests) = mpsc::channel(1);
        (Self(barrier), requests)
    }

    /// Returns once every status that was in the queue before this call has been signalled, or the
    /// broadcaster has ended.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(done).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

impl Broadcaster {
    /// A broadcaster of what arrives at `receiver`, and the handles to it.
    pub(super) fn new(receiver: SnapshotReceiver) -> (Self, Connections, Barrier) {
        let (handle, changes) = mpsc::channel(1);
        let (barrier, flushes) = Barrier::new();
        let SnapshotReceiver { statuses, snapshot } = receiver;
        let told = snapshot.borrow().clone();
        let broadcaster = Self {
            statuses,
            told,
            snapshot,
            flushes,
            changes,
            connections: Vec::new(),
        };
        (broadcaster, Connections(handle), barrier)
    }

    /// Signals until the engine or the service is gone.
    ///
    /// The order of the branches is the contract: a connection hears what was announced after it
    /// was added, and a flush is answered only when no status is left in the queue.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                Some(change) = self.changes.recv() => match change {
                    ConnectionChange::Added(connection) => self.connections.push(connection),
                    ConnectionChange::Closed => self.connections.retain(|connection| !connection.is_closed()),
                },
                Some(status) = self.statuses.recv() => self.announce(Signal::Status(status)).await,
                Ok(()) = self.snapshot.changed() => self.announce_changes().await,
                Some(done) = self.flushes.recv() => drop(done.send(())),
                else => break,
            }
        }
    }

    async fn announce_changes(&mut self) {
        let snapshot = self.snapshot.borrow_and_update().clone();
        if let Some(changes) = Changes::between(&self.told, &snapshot) {
            self.told = snapshot;
            self.announce(Signal::Changes(changes)).await;
        }
    }

    async fn announce(&mut self, signal: Signal) {
        let mut heard = Vec::with_capacity(self.connections.len());
        for connection in self.connections.drain(..) {
            match timeout(PATIENCE, signal.emit(&connection)).await {
                Ok(Ok(())) => heard.push(connection),
                Ok(Err(error)) if connection.is_closed() => tracing::debug!(%error, "a listener has left"),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot signal the engine's state");
                    heard.push(connection);
                }
                Err(_) => {
                    tracing::warn!("a listener does not read its signals; disconnecting it");
                    let _ = timeout(PATIENCE, connection.close()).await;
                }
            }
        }
        self.connections = heard;
    }
}

impl Signal {
    async fn emit(&self, connection: &Connection) -> zbus::Result<()> {
        match self {
            Self::Status(status) => emit(connection, status).await,
            Self::Changes(changes) => changes.emit(connection).await,
        }
    }
}

async fn emit(connection: &Connection, status: &Status) -> zbus::Result<()> {
    let fields = StatusFields::from(status.clone());
    connection
        .emit_signal(Option::<&str>::None, PATH, INTERFACE, "StatusUpdate", &fields)
        .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use futures_util::StreamExt as _;
    use zbus::connection::Builder;
    use zbus::{Guid, MessageStream};

    use super::*;
    use crate::bus::peer::pair;
    use crate::status::SnapshotSender;

    fn size(new_size: i64) -> Status {
        Status {
            new_size,
            ..Status::default()
        }
    }

    #[tokio::test]
    async fn a_flush_returns_after_every_status_that_was_queued() {
        let (ours, theirs) = pair().await;
        let mut heard = MessageStream::from(&theirs);
        let (sender, receiver) = SnapshotSender::new();
        let (broadcaster, connections, barrier) = Broadcaster::new(receiver);
        connections.add(ours.clone()).await;
        for number in 0..300 {
            sender.statuses.send(size(number)).unwrap();
        }
        tokio::spawn(broadcaster.run());
        barrier.flush().await;
        emit(&ours, &size(300)).await.unwrap();

        for expected in 0..=300 {
            let signal = heard.next().await.unwrap().unwrap();
            let (.., new_size) = signal.body().deserialize::<StatusFields>().unwrap();
            assert_eq!(new_size, expected);
        }
    }

    /// Our end of a connection whose other end speaks the handshake and then never reads again.
    async fn stuck() -> (Connection, UnixStream) {
        use std::fmt::Write as _;
        let (ours, mut silent) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let uid = nix::unistd::getuid().to_string();
        let mut hex = String::new();
        for digit in uid.bytes() {
            write!(hex, "{digit:02x}").unwrap();
        }
        let handshake = format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n");
        silent.write_all(handshake.as_bytes()).unwrap();
        let server = Builder::unix_stream(ours).server(Guid::generate()).p2p();
        (server.build().await.unwrap(), silent)
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_never_reads_is_dropped_and_the_others_hear_everything() {
        let (stuck, _silent) = stuck().await;
        let (ours, theirs) = pair().await;
        let mut heard = MessageStream::from(&theirs);
        let (sender, receiver) = SnapshotSender::new();
        let (broadcaster, connections, _barrier) = Broadcaster::new(receiver);
        tokio::spawn(broadcaster.run());
        connections.add(stuck.clone()).await;
        connections.add(ours).await;

        // More than a socket holds.
        for number in 0..40 {
            let new_version = "v".repeat(60_000);
            sender
                .statuses
                .send(Status {
                    new_version,
                    ..size(number)
                })
                .unwrap();
        }
        for expected in 0..40 {
            let signal = heard.next().await.unwrap().unwrap();
            let (.., new_size) = signal.body().deserialize::<StatusFields>().unwrap();
            assert_eq!(new_size, expected);
        }
        stuck.closed().await;
    }
}
