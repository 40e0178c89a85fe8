//! Peer connections: the objects on a socket without a bus, one D-Bus connection for each client.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use zbus::connection::Builder;
use zbus::{Connection, Guid};

use super::BusError;
use super::broadcaster::Connections;
use super::dispatcher::Dispatcher;
use super::limited_socket::LimitedSocket;
use super::objects::Objects;

/// The pause after a refusal by the kernel (no file descriptors left), which would repeat at once.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Accepts connections until dropped; removes its socket then.
pub(super) struct PeerListener {
    path: PathBuf,
    task: JoinHandle<()>,
}

/// The parts that every connection shares.
#[derive(Clone)]
struct Acceptor {
    guid: Guid<'static>,
    objects: Arc<Objects>,
    connections: Connections,
}

impl PeerListener {
    pub(super) async fn start(
        path: &Path,
        objects: Arc<Objects>,
        connections: Connections,
    ) -> Result<Self, BusError> {
        let listener = bind(path).await.map_err(|source| BusError::Listen {
            path: path.to_owned(),
            source,
        })?;
        let acceptor = Acceptor {
            guid: Guid::generate(),
            objects,
            connections,
        };
        Ok(Self {
            path: path.to_owned(),
            task: tokio::spawn(acceptor.accept(listener)),
        })
    }
}

impl Drop for PeerListener {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds `path`; a socket that nobody listens on any more is replaced.
async fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_dead(path).await => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        outcome => outcome,
    }
}

async fn is_dead(path: &Path) -> bool {
    matches!(UnixStream::connect(path).await, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

impl Acceptor {
    async fn accept(self, listener: UnixListener) {
        // Dropped with this task: the connections end with the listener.
        let mut tasks = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let acceptor = self.clone();
                    tasks.spawn(async move {
                        if let Err(error) = acceptor.serve(stream).await {
                            tracing::warn!(%error, "a direct connection failed");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a direct connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
            while tasks.try_join_next().is_some() {}
        }
    }

    async fn serve(self, stream: UnixStream) -> Result<(), PeerError> {
        let uid = stream.peer_cred()?.uid();
        if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
            return Err(PeerError::Stranger { uid });
        }
        let socket = LimitedSocket::new(stream, uid);
        let builder = Builder::socket(socket).server(self.guid).p2p();
        let incoming = builder.build_message_stream().await?;
        let connection = Connection::from(&incoming);
        self.connections.add(connection.clone()).await;
        Dispatcher::new(incoming, self.objects).run().await;
        connection.closed().await;
        drop(connection);
        self.connections.drop_closed().await;
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum PeerError {
    #[error("user {uid} is neither root nor the engine's own")]
    Stranger { uid: u32 },
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Bus(#[from] zbus::Error),
}

/// Both ends of a connection without a bus: the service's and the client's.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) async fn pair() -> (Connection, Connection) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let server = Builder::unix_stream(ours).server(Guid::generate()).p2p();
    let client = Builder::unix_stream(theirs).p2p();
    let (server, client) = tokio::join!(server.build(), client.build());
    (server.unwrap(), client.unwrap())
}
