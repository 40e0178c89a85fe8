//! Byte connection to a server, directly or through a proxy.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::lookup_host;
use tower_service::Service;

use super::error::NetError;
use super::proxy::{ProxyScheme, ProxyServer};
use super::server_url::ServerUrl;
use super::tls::{self, ClientTls};

/// The longest user name, and the longest password, that SOCKS 5 can carry.
const LONGEST_SOCKS_NAME: usize = 255;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) type BoxedStream = Box<dyn Stream>;
type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Connects to the server of `url`, or to `proxy` in its place; with TLS where either wants it, and with the server by
/// `own` certificates if there are any.
pub(super) async fn connect(
    url: &ServerUrl,
    proxy: Option<&ProxyServer>,
    within: Duration,
    own: Option<&ClientTls>,
) -> Result<BoxedStream, NetError> {
    let stream = match proxy {
        None => tcp(&url.host_to_resolve(), url.port(), within).await?,
        Some(proxy) if url.zone().is_some() => {
            return Err(NetError::Zone {
                proxy: proxy.to_string(),
            });
        }
        Some(proxy) => through(proxy, url, within).await?,
    };
    if url.is_https() {
        tls::wrap(stream, &url.host_to_resolve(), own).await
    } else {
        Ok(stream)
    }
}

async fn tcp(host: &str, port: u16, within: Duration) -> Result<BoxedStream, NetError> {
    let failed = |source: BoxedError| NetError::Connect {
        peer: format!("{host}:{port}"),
        source,
    };
    let mut connector = HttpConnector::new_with_resolver(Resolved(resolve(host, port).await?));
    connector.set_connect_timeout(Some(within));
    connector.set_nodelay(true);
    // The addresses are known: the name only stands for them.
    let uri = uri("server.invalid", port).map_err(|error| failed(error.into()))?;
    let stream = connector.call(uri).await.map_err(|error| failed(error.into()))?;
    Ok(Box::new(stream.into_inner()))
}

/// All addresses of `host`, which may itself be an address, with or without a zone.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, NetError> {
    let failed = |source| NetError::Resolve {
        host: host.to_owned(),
        source,
    };
    let found: Vec<_> = lookup_host((host, port)).await.map_err(failed)?.collect();
    if found.is_empty() {
        return Err(failed(io::Error::from(io::ErrorKind::NotFound)));
    }
    Ok(found)
}

async fn through(proxy: &ProxyServer, url: &ServerUrl, within: Duration) -> Result<BoxedStream, NetError> {
    let failed = |source: BoxedError| NetError::Tunnel {
        proxy: proxy.to_string(),
        peer: url.authority(),
        source,
    };
    let mut stream = tcp(&proxy.host, proxy.port, within).await?;
    if proxy.scheme == ProxyScheme::Https {
        stream = tls::wrap(stream, &proxy.host, None).await?;
    }
    let inner = Connected(Some(stream));
    let proxy_uri = Uri::from_static("http://proxy.invalid");
    let target = target(proxy, url).await?;
    let stream = match proxy.scheme {
        ProxyScheme::Http | ProxyScheme::Https if !url.is_https() => return inner.into_stream(),
        ProxyScheme::Http | ProxyScheme::Https => {
            let mut tunnel = Tunnel::new(proxy_uri, inner);
            if let Some(known) = &proxy.credentials {
                tunnel = tunnel.with_auth(known.basic());
            }
            tunnel.call(target).await.map_err(|error| failed(error.into()))?
        }
        ProxyScheme::Socks4 | ProxyScheme::Socks4a => {
            let called = SocksV4::new(proxy_uri, inner).call(target).await;
            called.map_err(|error| failed(error.into()))?
        }
        ProxyScheme::Socks5 | ProxyScheme::Socks5h => {
            let mut socks = SocksV5::new(proxy_uri, inner);
            if let Some(known) = &proxy.credentials {
                let user = socks_text(&known.user).map_err(failed)?;
                socks = socks.with_auth(user, socks_text(&known.password).map_err(failed)?);
            }
            socks.call(target).await.map_err(|error| failed(error.into()))?
        }
    };
    Ok(Box::new(stream.into_inner()))
}

/// The server as named to `proxy`: by address for proxies that don't resolve names.
async fn target(proxy: &ProxyServer, url: &ServerUrl) -> Result<Uri, NetError> {
    let refused = |_| NetError::Request { url: url.to_string() };
    let port = url.port();
    let is_wanted: fn(&SocketAddr) -> bool = match proxy.scheme {
        ProxyScheme::Socks4 => SocketAddr::is_ipv4,
        ProxyScheme::Socks5 => |_| true,
        _ => return uri(&url.host().to_string(), port).map_err(refused),
    };
    let host = url.host_to_resolve();
    let found = resolve(&host, port).await?.into_iter().find(is_wanted);
    let none = || NetError::Resolve {
        host,
        source: io::Error::other("it has no IPv4 address, and SOCKS 4 knows no other"),
    };
    let address = found.ok_or_else(none)?;
    format!("http://{address}").parse().map_err(refused)
}

fn uri(host: &str, port: u16) -> Result<Uri, http::uri::InvalidUri> {
    format!("http://{host}:{port}").parse()
}

fn socks_text(bytes: &[u8]) -> Result<String, BoxedError> {
    if bytes.len() > LONGEST_SOCKS_NAME {
        return Err("its user name or password is longer than SOCKS 5 can carry".into());
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| "its user name or password is no UTF-8".into())
}

/// A resolver with a fixed result.
#[derive(Clone)]
struct Resolved(Vec<SocketAddr>);

impl Service<Name> for Resolved {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}

/// A connector that returns an existing connection, once.
struct Connected(Option<BoxedStream>);

impl Connected {
    fn into_stream(self) -> Result<BoxedStream, NetError> {
        // Invariant: only `call` takes it out.
        self.0.ok_or_else(|| NetError::Connect {
            peer: "the proxy".to_owned(),
            source: "its connection is in use".into(),
        })
    }
}

impl Service<Uri> for Connected {
    type Response = TokioIo<BoxedStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take().map(TokioIo::new);
        ready(stream.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}
