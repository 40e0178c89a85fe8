//! The service: offers the objects on a bus or a socket, and takes them back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::fdo::RequestNameFlags;

use super::SERVICE;
use super::broadcaster::{Barrier, Broadcaster, Connections};
use super::control::EngineHandle;
use super::dispatcher::Dispatcher;
use super::object_tree::Transport;
use super::objects::Objects;
use super::peer::PeerListener;
use crate::status::{Command, SnapshotReceiver};

/// The service while it is offered; dropping it takes it back at once.
#[must_use = "dropping the service takes it off the bus"]
pub struct BusService {
    offer: Offering,
    barrier: Barrier,
    /// Held because nothing is signalled without it.
    _broadcaster: AbortOnDrop,
}

/// A task that ends when this is dropped.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Offering {
    Bus {
        connection: Connection,
        /// Held because no call is answered without it.
        _dispatcher: AbortOnDrop,
    },
    /// Held because the socket goes away with it.
    Peer { _listener: PeerListener },
}

/// The errors that keep the service from being offered.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No connection to the bus.
    #[error("cannot connect to the message bus at {address}")]
    Connect {
        /// The bus's address.
        address: String,
        /// The underlying error.
        #[source]
        source: zbus::Error,
    },
    /// Another process serves already.
    #[error("the name {} has an owner already: another update engine is running", SERVICE)]
    NameTaken,
    /// The socket for direct connections could not be bound.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The socket's path.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: std::io::Error,
    },
}

/// Serves on the message bus at `address`, a D-Bus server address such as `unix:path=/run/bus`;
/// without one on the system bus: `DBUS_SYSTEM_BUS_ADDRESS` if set, the usual socket else.
///
/// Statuses are signalled in the order in which they are sent, each exactly once.
///
/// # Errors
/// [`BusError::Connect`] without a bus, [`BusError::NameTaken`] if another process serves.
pub async fn serve_bus(
    address: Option<&str>,
    commands: mpsc::Sender<Command>,
    receiver: SnapshotReceiver,
) -> Result<BusService, BusError> {
    let (objects, broadcaster, connections, barrier) = parts(commands, receiver, Transport::Bus);
    let builder = address.map_or_else(Builder::system, Builder::address);
    let (connection, dispatcher) = connect(objects, builder).await.map_err(|source| match source {
        zbus::Error::NameTaken => BusError::NameTaken,
        source => BusError::Connect {
            address: address.unwrap_or("the system bus's address").to_owned(),
            source,
        },
    })?;
    // The broadcaster is not running yet, and its queue holds one.
    connections.add(connection.clone()).await;
    let offer = Offering::Bus {
        connection,
        _dispatcher: dispatcher,
    };
    Ok(BusService::new(offer, broadcaster, barrier))
}

/// Serves without a bus: every client that connects to the socket `path` may call the object and
/// hears its signals. Only root and the daemon's own user are let in. A socket that a dead process
/// left is replaced.
///
/// # Errors
/// [`BusError::Listen`].
pub async fn serve_peer(
    path: &Path,
    commands: mpsc::Sender<Command>,
    receiver: SnapshotReceiver,
) -> Result<BusService, BusError> {
    let (objects, broadcaster, connections, barrier) = parts(commands, receiver, Transport::Peer);
    let listener = PeerListener::start(path, objects, connections).await?;
    let offer = Offering::Peer { _listener: listener };
    Ok(BusService::new(offer, broadcaster, barrier))
}

/// The parts of a service, on a bus or on a socket.
fn parts(
    commands: mpsc::Sender<Command>,
    receiver: SnapshotReceiver,
    access: Transport,
) -> (Arc<Objects>, Broadcaster, Connections, Barrier) {
    let snapshot = receiver.snapshot.clone();
    let (broadcaster, connections, barrier) = Broadcaster::new(receiver);
    let engine = EngineHandle {
        commands,
        barrier: barrier.clone(),
    };
    let objects = Arc::new(Objects::new(engine, &snapshot, access));
    (objects, broadcaster, connections, barrier)
}

/// Calls are answered before the name is taken, so that no client meets the name without the
/// objects. The name is not to be replaced: two engines on one disk would be two writers of one
/// slot.
async fn connect(objects: Arc<Objects>, builder: Builder<'_>) -> zbus::Result<(Connection, AbortOnDrop)> {
    let incoming = builder.build_message_stream().await?;
    let connection = Connection::from(&incoming);
    let dispatcher = AbortOnDrop(tokio::spawn(Dispatcher::new(incoming, objects).run()));
    connection
        .request_name_with_flags(SERVICE, RequestNameFlags::DO_NOT_QUEUE)
        .await?;
    Ok((connection, dispatcher))
}

impl BusService {
    fn new(offer: Offering, broadcaster: Broadcaster, barrier: Barrier) -> Self {
        Self {
            offer,
            barrier,
            _broadcaster: AbortOnDrop(tokio::spawn(broadcaster.run())),
        }
    }

    /// Returns when the bus has gone away. A daemon ends then: its manager restarts it once there
    /// is a bus again. Never returns without a bus.
    pub async fn closed(&self) {
        match &self.offer {
            Offering::Bus { connection, .. } => connection.closed().await,
            Offering::Peer { .. } => std::future::pending().await,
        }
    }

    /// Signals what has been announced so far, then takes the service back.
    pub async fn shutdown(self) {
        self.barrier.flush().await;
        if let Offering::Bus { connection, .. } = &self.offer {
            let _ = connection.release_name(SERVICE).await;
            let _ = connection.clone().close().await;
        }
    }
}
