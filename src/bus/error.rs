//! `BusError`: why the service could not be offered.

use std::path::PathBuf;

/// Why the service could not be offered.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No connection to the bus.
    #[error("cannot connect to the message bus at {address}")]
    Connect {
        /// Where the bus was looked for.
        address: String,
        /// What went wrong.
        #[source]
        source: zbus::Error,
    },
    /// Another process serves already.
    #[error(
        "the name {} has an owner already: another update engine is running",
        super::SERVICE
    )]
    NameTaken,
    /// The socket for direct connections could not be bound.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
}
