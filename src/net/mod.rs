//! HTTP client with one set of rules for all requests: update checks, payloads, extensions, PCR
//! policies and previews.
//!
//! ```text
//!  ServerUrl ──▶ Proxies ──▶ connection ──▶ TLS ──▶ one request, one answer ──▶ redirect? ──▶ ServerUrl …
//!  user, zone    direct, or   TCP, SOCKS,            early answers count          same scheme, 10 at most
//!                through one  CONNECT
//! ```
//!
//! Curl is the reference for proxies, `NO_PROXY`, redirects and user names in URLs, since that is
//! what the original engine asks with; a test holds our choice of a proxy against the installed
//! curl's.
//!
//! Every request gets a TCP connection of its own, and its answer is read even if it came before
//! the request was sent, or the request could not be sent to its end. That makes it survive the
//! smallest servers in the field, which write a canned answer without reading the question and hang
//! up.
//!
//! Invariants: no secret of a URL in any text of ours ([`redact`]); passwords go to the host
//! that they were meant for and to no other; a proxy that can't be used is refused by name, never
//! gone around.

mod client;
mod connection;
mod early_answer;
mod error;
mod proxy;
mod redact;
mod redirect;
mod server_url;
mod tls;

pub use client::{HttpClient, HttpRequest, HttpResponse, content_encoding, is_web_page, login_wanted};
pub use error::NetError;
pub use proxy::{Proxies, ProxyFault, ProxyScheme, ProxyServer};
pub use redact::{redact, redact_url};
pub use redirect::RedirectFault;
pub use server_url::{Credentials, ServerUrl, UrlFault};
pub use tls::{ClientTls, ClientTlsError};
