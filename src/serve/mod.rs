//! An Omaha and payload server, for tests, demonstrations and sites without a network.
//!
//! ```text
//!   POST /v1/update[/…]      Question ──▶ Answer     update, or noupdate when the version matches
//!   GET  /packages/NAME      ranges, If-Range, ETag; bounded memory, optionally at a given pace
//!                │
//!                └─ every request ──▶ Journal        requests and answers
//! ```
//!
//! One update is served at a time, described by a [`Catalog`]; [`Server::replace`] swaps it while
//! nodes are connected. The server keeps no state per node: it never refuses an update because
//! another one is in progress, and answers every event with `ok`. It holds no secrets and checks no
//! signatures: nodes verify payloads themselves, so nothing here needs to be trusted by them.
//!
//! The dialect is Omaha 3.0 as Flatcar's servers speak it: every well-formed request gets a 200.

mod answer;
mod catalog;
mod download;
mod journal;
mod question;
mod service;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::answer::ServerAnswer;
pub use self::catalog::{Audience, Catalog, PackageName, ServedPackage};
pub use self::download::FilePart;
pub use self::journal::{Download, Exchange, RequestJournal, RequestRecord};
pub use self::question::{App, Ask, NodeEvent, OmahaQuestion, QuestionError};
use self::service::HttpService;

/// Connections answered at the same time; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 512;

/// Time that a connection may take to send a request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Error of starting a server or of serving an update.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server can't listen on the address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address requested.
        address: SocketAddr,
        /// Error of the system call.
        source: io::Error,
    },
    /// A file to be served can't be read.
    #[error("cannot read {path}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// The file is empty: Omaha can't offer a package of no bytes.
    #[error("{path} is empty: there is nothing to offer")]
    Empty {
        /// Path of the file.
        path: PathBuf,
    },
    /// The name can't be part of a URL as it is.
    #[error("package name {name:?} must be of letters, digits, '.', '_' and '-', and not begin with '.'")]
    Name {
        /// The name, as given.
        name: String,
    },
    /// Two packages would have the same URL.
    #[error("two packages are called {name}")]
    Duplicate {
        /// Name of the packages.
        name: PackageName,
    },
}

/// A running server. Dropping it ends it, its connections included; [`Server::stop`] also waits for
/// that.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    catalog: watch::Sender<Option<Arc<Catalog>>>,
    journal: RequestJournal,
    cancel: CancellationToken,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` (port 0: any free one) within the current tokio runtime. Without a
    /// catalog every check is answered with "no update".
    ///
    /// # Errors
    /// [`ServeError::Listen`].
    pub async fn start(address: SocketAddr, catalog: Option<Catalog>) -> Result<Self, ServeError> {
        let listen = |source| ServeError::Listen { address, source };
        let socket = TcpListener::bind(address).await.map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        let catalog = watch::Sender::new(catalog.map(Arc::new));
        let journal = RequestJournal::default();
        let cancel = CancellationToken::new();
        let service = HttpService::new(address, catalog.subscribe(), journal.clone());
        let listener = tokio::spawn(accept(socket, service, cancel.clone()));
        Ok(Self {
            address,
            catalog,
            journal,
            cancel,
            listener: Some(listener),
        })
    }

    /// Address at which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// URL for `SERVER=` of a node.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1/update/", self.address)
    }

    /// Serves another update, or none, from the next request on. Downloads under way go on.
    pub fn replace(&self, catalog: Option<Catalog>) {
        self.catalog.send_replace(catalog.map(Arc::new));
    }

    /// The requests so far.
    #[must_use]
    pub fn journal(&self) -> &RequestJournal {
        &self.journal
    }

    /// Ends the server and waits until its socket and connections are closed.
    pub async fn stop(mut self) {
        self.cancel.cancel();
        if let Some(listener) = self.listener.take() {
            // It only ends with an error if it panicked or the runtime is going away.
            let _ = listener.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Accepts until cancelled; dropping the set closes the connections.
async fn accept(socket: TcpListener, service: HttpService, cancel: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = socket.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, service.clone()));
                }
                Err(error) => {
                    // Out of descriptors, mostly: give the open connections time to close.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, service: HttpService) {
    let answer = hyper::service::service_fn(move |request| {
        let service = service.clone();
        async move { service.answer(peer, request).await }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!("connection of {peer} ended: {error}");
    }
}
