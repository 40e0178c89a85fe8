//! The broadcaster: sends each status to all connections, once, in order, none lost; and the properties that changed.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use zbus::Connection;

use super::barrier::{Barrier, Requests};
use super::engine1::Changes;
use super::{INTERFACE, PATH, StatusFields};
use crate::status::{Snapshot, SnapshotReceiver, Status};

/// How long one listener may hold up a signal before it is dropped. A bus reads at once; a peer that
/// was stopped never does, and must not stop the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// The one task that signals. Owns the connections that listen.
pub(super) struct Broadcaster {
    statuses: mpsc::UnboundedReceiver<Status>,
    snapshot: watch::Receiver<Snapshot>,
    /// What the audience knows.
    told: Snapshot,
    requests: Requests,
    attendance: mpsc::Receiver<Attendance>,
    connections: Vec<Connection>,
}

/// One signal.
enum Signal {
    Status(Status),
    Changes(Changes),
}

/// Who comes and goes.
enum Attendance {
    Joined(Connection),
    /// One of those whose connections are closed.
    Left,
}

/// Adds connections to the audience, and takes them away.
#[derive(Clone)]
pub(super) struct Admission(mpsc::Sender<Attendance>);

impl Admission {
    /// It hears what is announced from now on. Nobody announces anything any more where this fails.
    pub(super) async fn join(&self, connection: Connection) {
        let _ = self.0.send(Attendance::Joined(connection)).await;
    }

    /// A connection that joined is closed: its descriptor is freed now, not at the next signal, which may be hours away.
    pub(super) async fn leave(&self) {
        let _ = self.0.send(Attendance::Left).await;
    }
}

impl Broadcaster {
    /// A broadcaster of what arrives at `receiver`, and the handles of those who talk to it.
    pub(super) fn new(receiver: SnapshotReceiver) -> (Self, Admission, Barrier) {
        let (admission, attendance) = mpsc::channel(1);
        let (barrier, requests) = Barrier::new();
        let SnapshotReceiver { statuses, snapshot } = receiver;
        let told = snapshot.borrow().clone();
        let broadcaster = Self {
            statuses,
            told,
            snapshot,
            requests,
            attendance,
            connections: Vec::new(),
        };
        (broadcaster, Admission(admission), barrier)
    }

    /// Signals until the engine or the service is gone.
    ///
    /// The order of the branches is the contract: a connection hears what was announced after it was
    /// admitted, and a flush is answered only when no status is left in the queue.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                Some(change) = self.attendance.recv() => match change {
                    Attendance::Joined(connection) => self.connections.push(connection),
                    Attendance::Left => self.connections.retain(|connection| !connection.is_closed()),
                },
                Some(status) = self.statuses.recv() => self.announce(Signal::Status(status)).await,
                Ok(()) = self.snapshot.changed() => self.announce_changes().await,
                Some(done) = self.requests.recv() => drop(done.send(())),
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

    use super::super::pair::pair;
    use super::*;
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
        let (broadcaster, admission, barrier) = Broadcaster::new(receiver);
        admission.join(ours.clone()).await;
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
        let (broadcaster, admission, _flusher) = Broadcaster::new(receiver);
        tokio::spawn(broadcaster.run());
        admission.join(stuck.clone()).await;
        admission.join(ours).await;

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
