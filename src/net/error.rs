//! Errors of requests.

use std::io;
use std::time::Duration;

use super::proxy::ProxyFault;
use super::redirect::RedirectFault;

/// Error of a request without a response. Texts name hosts, never users, passwords or queries.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The environment's proxy can't be used.
    #[error(transparent)]
    Proxy(#[from] ProxyFault),
    /// A redirect that is not followed.
    #[error("the redirect from {url} (status {status}) is not followed: {fault}")]
    Redirect {
        /// URL of the request, without user, password and query.
        url: String,
        /// Status of the redirect.
        status: u16,
        /// The rule that the redirect breaks.
        fault: RedirectFault,
    },
    /// A URL that no request can be made for.
    #[error("no request can be made for {url}")]
    Request {
        /// URL of the request, without user, password and query.
        url: String,
    },
    /// An address with a zone, which has a meaning on this machine alone, through a proxy.
    #[error("{proxy} can't reach an address on this machine's own link: name it in NO_PROXY")]
    Zone {
        /// URL of the proxy, without user and password.
        proxy: String,
    },
    /// A name that can't be resolved.
    #[error("{host} can't be resolved")]
    Resolve {
        /// Name of the server or proxy.
        host: String,
        /// Error of the system or the TLS library.
        source: io::Error,
    },
    /// No connection.
    #[error("no connection to {peer}")]
    Connect {
        /// `host:port` of the server or proxy.
        peer: String,
        /// The underlying error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection in time.
    #[error("no connection to {peer} in {} s", within.as_secs())]
    ConnectTimeout {
        /// `host:port` of the server or proxy.
        peer: String,
        /// The time within which a connection must stand.
        within: Duration,
    },
    /// The proxy refuses or fails to connect to the server.
    #[error("{proxy} gives no connection to {peer}")]
    Tunnel {
        /// URL of the proxy, without user and password.
        proxy: String,
        /// `host:port` of the server.
        peer: String,
        /// The underlying error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS failed; in most cases no trusted authority has signed the certificate.
    #[error("no TLS connection to {peer}")]
    Tls {
        /// `host:port` of the server or proxy.
        peer: String,
        /// Error of the system or the TLS library.
        source: io::Error,
    },
    /// No byte came in time.
    #[error("{peer} said nothing for {} s", within.as_secs())]
    Silence {
        /// `host:port` of the server or proxy.
        peer: String,
        /// The longest wait for the next byte.
        within: Duration,
    },
    /// The connection broke, or the peer doesn't speak HTTP.
    #[error("the connection failed")]
    Http(#[from] hyper::Error),
}

impl NetError {
    /// Whether a retry can't help before a setting or a server has changed.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Proxy(_) | Self::Redirect { .. } | Self::Request { .. } | Self::Zone { .. }
        )
    }
}
