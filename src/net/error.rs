//! Why a server gives no answer.

use std::io;
use std::time::Duration;

use super::proxy::ProxyFault;
use super::redirect::RedirectFault;

/// Why there is no answer to a request. Texts name hosts, never users, passwords or queries.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The environment's proxy can't be used.
    #[error(transparent)]
    Proxy(#[from] ProxyFault),
    /// The server leads elsewhere, and isn't followed there.
    #[error("the redirect from {url} (status {status}) is not followed: {fault}")]
    Redirect {
        /// From where, as it may be shown.
        url: String,
        /// The status of the answer that leads there.
        status: u16,
        /// The rule that the redirect breaks.
        fault: RedirectFault,
    },
    /// A URL that no request can be made for.
    #[error("no request can be made for {url}")]
    Request {
        /// As it may be shown.
        url: String,
    },
    /// A zone means something on this machine alone.
    #[error("{proxy} can't reach an address on this machine's own link: name it in NO_PROXY")]
    Zone {
        /// URL of the proxy, as it may be shown.
        proxy: String,
    },
    /// Its name leads nowhere.
    #[error("{host} can't be resolved")]
    Resolve {
        /// Name of the server or proxy.
        host: String,
        /// What the system or the TLS library says.
        source: io::Error,
    },
    /// It can't be reached.
    #[error("no connection to {peer}")]
    Connect {
        /// The server or proxy, as it may be shown.
        peer: String,
        /// What failed below.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection, and no refusal either.
    #[error("no connection to {peer} in {} s", within.as_secs())]
    ConnectTimeout {
        /// The server or proxy, as it may be shown.
        peer: String,
        /// In what time.
        within: Duration,
    },
    /// The proxy doesn't lead to the server.
    #[error("{proxy} gives no connection to {peer}")]
    Tunnel {
        /// URL of the proxy, as it may be shown.
        proxy: String,
        /// The server that was wanted, as it may be shown.
        peer: String,
        /// What failed below.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS failed: mostly, no trusted authority vouches for the server.
    #[error("no TLS connection to {peer}")]
    Tls {
        /// The server or proxy, as it may be shown.
        peer: String,
        /// What the system or the TLS library says.
        source: io::Error,
    },
    /// It said nothing for too long.
    #[error("{peer} said nothing for {} s", within.as_secs())]
    Silence {
        /// The server or proxy, as it may be shown.
        peer: String,
        /// For how long.
        within: Duration,
    },
    /// The connection broke, or what came over it is no HTTP.
    #[error("the connection failed")]
    Http(#[from] hyper::Error),
}

impl NetError {
    /// Whether asking again can't help before somebody has changed something.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Proxy(_) | Self::Redirect { .. } | Self::Request { .. } | Self::Zone { .. }
        )
    }
}
