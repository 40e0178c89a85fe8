//! One request and its answer on a connection of their own.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::config::{AutoHeaderValue, Config};
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};
use ureq::{Agent, Proxy, ProxyProtocol};
use url::{Position, Url};

use super::MAX_ANSWER;
use super::interrupt::Interrupt;
use super::proxy::Proxies;

const CONNECT: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(90);
const WHOLE: Duration = Duration::from_secs(600);

/// What to send.
#[derive(Debug, Clone, Copy)]
pub(super) enum Method<'a> {
    /// With a document.
    Post(&'a str),
    /// Without.
    Get,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    /// One byte longer than [`MAX_ANSWER`] if it is longer than that.
    pub(super) body: Vec<u8>,
}

/// Connects, asks, reads the answer to its end and hangs up.
pub(super) fn exchange(
    url: &Url,
    method: Method<'_>,
    proxies: &Proxies,
    interrupt: &Interrupt,
) -> Result<Answer, ureq::Error> {
    let route = Route::choose(url, proxies)?;
    let agent = route.agent(url);
    interrupt.register(&agent)?;
    let mut response = match method {
        Method::Post(document) => {
            let mut request = agent.post(url.as_str()).header("Content-Type", "text/xml");
            if let Some(credentials) = route.proxy_authorization() {
                request = request.header("Proxy-Authorization", credentials);
            }
            request.send(document)?
        }
        Method::Get => {
            let mut request = agent.get(url.as_str());
            if let Some(credentials) = route.proxy_authorization() {
                request = request.header("Proxy-Authorization", credentials);
            }
            request.call()?
        }
    };
    let location = response.headers().get("Location");
    let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut body = Vec::new();
    let reader = response.body_mut().as_reader();
    reader.take(MAX_ANSWER + 1).read_to_end(&mut body)?;
    Ok(Answer {
        status: response.status().as_u16(),
        location,
        body,
    })
}

/// How the server is reached.
enum Route {
    /// Straight, or through a tunnel that ureq makes (SOCKS, or CONNECT for https).
    Tunnel(Option<Proxy>),
    /// By asking an HTTP proxy for the whole `http` URL. CONNECT would do too, but proxies commonly allow
    /// it to port 443 only.
    Forward(Proxy),
}

impl Route {
    fn choose(url: &Url, proxies: &Proxies) -> Result<Self, ureq::Error> {
        let proxy = proxies.for_url(url).map(Proxy::new).transpose()?;
        Ok(match proxy {
            Some(proxy) if url.scheme() == "http" && proxy.protocol() == ProxyProtocol::Http => {
                Self::Forward(proxy)
            }
            proxy => Self::Tunnel(proxy),
        })
    }

    fn agent(&self, url: &Url) -> Agent {
        match self {
            Self::Tunnel(proxy) => Agent::with_parts(
                config(proxy.clone()),
                DefaultConnector::new().chain(Wire { origin: None }),
                DefaultResolver::default(),
            ),
            Self::Forward(proxy) => Agent::with_parts(
                config(None),
                DefaultConnector::new().chain(Wire {
                    origin: Some(format!(
                        "http://{}",
                        &url[Position::BeforeHost..Position::AfterPort]
                    )),
                }),
                ResolveProxy(proxy.uri().clone(), DefaultResolver::default()),
            ),
        }
    }

    fn proxy_authorization(&self) -> Option<String> {
        let Self::Forward(proxy) = self else {
            return None;
        };
        let user = proxy.username()?;
        let password = proxy.password().unwrap_or_default();
        Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }
}

fn config(proxy: Option<Proxy>) -> Config {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    Agent::config_builder()
        .proxy(proxy)
        .tls_config(tls)
        .http_status_as_error(false)
        // Redirects are followed by rules of our own.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .user_agent(AutoHeaderValue::None)
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE))
        .timeout_global(Some(WHOLE))
        .build()
}

/// Resolves the proxy in place of the server, whose name may mean something to the proxy alone.
#[derive(Debug)]
struct ResolveProxy(Uri, DefaultResolver);

impl Resolver for ResolveProxy {
    fn resolve(
        &self,
        _server: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.1.resolve(&self.0, config, timeout)
    }
}

/// The last link of the chain: what is peculiar about our connections.
#[derive(Debug)]
struct Wire {
    origin: Option<String>,
}

impl<T: Transport> Connector<T> for Wire {
    type Out = Line<T>;

    fn connect(
        &self,
        _details: &ConnectionDetails<'_>,
        chained: Option<T>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let origin = self.origin.clone();
        Ok(chained.map(|inner| Line {
            inner,
            origin,
            peer: Peer::Listening,
        }))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Peer {
    Listening,
    /// It has closed its end; what it said before can still be read.
    Deaf,
}

/// A connection that goes on to the answer when the peer stops reading, and that writes the first request
/// line in absolute form if there is an `origin` (`http://host:port`).
#[derive(Debug)]
struct Line<T> {
    inner: T,
    origin: Option<String>,
    peer: Peer,
}

impl<T: Transport> Line<T> {
    fn transmit(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let Some(origin) = self.origin.take() else {
            return self.inner.transmit_output(amount, timeout);
        };
        let head = absolute_form(&self.inner.buffers().output()[..amount], &origin);
        let room = self.inner.buffers().output().len();
        for chunk in head.chunks(room) {
            self.inner.buffers().output()[..chunk.len()].copy_from_slice(chunk);
            self.inner.transmit_output(chunk.len(), timeout)?;
        }
        Ok(())
    }
}

impl<T: Transport> Transport for Line<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if self.peer == Peer::Deaf {
            return Ok(());
        }
        match self.transmit(amount, timeout) {
            Err(ureq::Error::Io(error)) if is_hang_up(&error) => {
                self.peer = Peer::Deaf;
                Ok(())
            }
            result => result,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// `POST /path HTTP/1.1…` becomes `POST http://host/path HTTP/1.1…`.
fn absolute_form(head: &[u8], origin: &str) -> Vec<u8> {
    let path = head
        .iter()
        .position(|&byte| byte == b' ')
        .map_or(0, |space| space + 1);
    [&head[..path], origin.as_bytes(), &head[path..]].concat()
}
