//! HTTP client: one request and its response, through redirects; and the headers that explain a wrong
//! body: encodings, web pages, logins.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, LOCATION, PROXY_AUTHORIZATION,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::connect;
use super::early_answer::EarlyAnswer;
use super::error::NetError;
use super::proxy::{Proxies, ProxyScheme, ProxyServer};
use super::redirect;
use super::server_url::{Credentials, ServerUrl};
use super::tls::ClientTls;

/// Most headers of one answer; their bytes have a limit too, of some 400 KiB.
const MOST_HEADERS: usize = 1000;

/// HTTP client that uses a new connection for each request.
#[derive(Debug, Clone)]
pub struct HttpClient {
    proxies: Proxies,
    connect_timeout: Duration,
    silence: Option<Duration>,
    follows_redirects: bool,
    tls: Option<ClientTls>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// HTTP method.
    pub method: Method,
    /// URL. User and password in it are sent to that server, also after redirects on it.
    pub url: ServerUrl,
    /// Headers beside those that HTTP needs.
    pub headers: HeaderMap,
    /// Body; empty for most requests.
    pub body: Bytes,
    /// Credentials for a URL without user and password of its own; sent over https only, and not to
    /// another server.
    pub credentials: Option<Credentials>,
}

/// A response; dropping it ends its connection.
#[derive(Debug)]
pub struct HttpResponse {
    url: ServerUrl,
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    /// Runs the connection.
    _driver: JoinSet<()>,
    _sender: SendRequest<Full<Bytes>>,
}

impl HttpClient {
    /// A client with `proxies` that waits at most `connect_timeout` for a connection.
    #[must_use]
    pub const fn new(proxies: Proxies, connect_timeout: Duration) -> Self {
        Self {
            proxies,
            connect_timeout,
            silence: None,
            follows_redirects: true,
            tls: None,
        }
    }

    /// Follows no redirect: the response that leads elsewhere is the response.
    #[must_use]
    pub const fn without_redirects(mut self) -> Self {
        self.follows_redirects = false;
        self
    }

    /// Trusts, and shows, these certificates.
    #[must_use]
    pub fn with_tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Limits the wait for the head of each response to `silence`.
    #[must_use]
    pub const fn patient_for(mut self, silence: Duration) -> Self {
        self.silence = Some(silence);
        self
    }

    /// Sends `request`, and follows up to ten redirects that keep the scheme. As curl does it, and
    /// the original with it, 301, 302 and 303 turn a POST into a GET without a body; 307 and 308
    /// keep it.
    ///
    /// # Errors
    /// If no answer comes, or a redirect is not followed. A status is no error.
    pub async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, NetError> {
        let asked = request.url.clone();
        let mut hops = 0;
        loop {
            let response = self.exchange(&request, &asked).await?;
            let status = response.status.as_u16();
            if !self.follows_redirects || !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response.headers.get(LOCATION).map(HeaderValue::as_bytes);
            let next = redirect::target(&request.url, location, hops);
            request.url = next.map_err(|fault| NetError::Redirect {
                url: request.url.to_string(),
                status,
                fault,
            })?;
            hops += 1;
            if request.method == Method::POST && matches!(status, 301..=303) {
                request.method = Method::GET;
                request.body = Bytes::new();
                request.headers.remove(http::header::CONTENT_TYPE);
            }
        }
    }

    /// One request, of a chain that began with `asked`.
    async fn exchange(&self, request: &HttpRequest, asked: &ServerUrl) -> Result<HttpResponse, NetError> {
        let url = &request.url;
        let proxy = self.proxies.for_url(url)?;
        let message = message(request, asked, proxy.as_ref())?;
        let connecting = connect(url, proxy.as_ref(), self.connect_timeout, self.tls.as_ref());
        let connected = timeout(self.connect_timeout, connecting).await;
        let stream = connected.map_err(|_| NetError::ConnectTimeout {
            peer: url.authority(),
            within: self.connect_timeout,
        })??;
        let answer = ask(TokioIo::new(EarlyAnswer::new(stream)), message, url);
        match self.silence {
            None => answer.await,
            Some(within) => timeout(within, answer).await.map_err(|_| NetError::Silence {
                peer: url.authority(),
                within,
            })?,
        }
    }
}

async fn ask<T>(
    stream: TokioIo<T>,
    message: Request<Full<Bytes>>,
    url: &ServerUrl,
) -> Result<HttpResponse, NetError>
where
    TokioIo<T>: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (mut sender, connection) = Builder::new()
        // As curl writes them: the smallest servers compare letter by letter.
        .title_case_headers(true)
        // As curl reads them: proxies and old servers add headers that break HTTP's rules. No other answer
        // follows on this connection, so that none can be smuggled in.
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_headers(MOST_HEADERS)
        .handshake(stream)
        .await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // Its end is known to whoever reads the answer.
        let _ = connection.await;
    });
    let response = sender.send_request(message).await?;
    let (head, body) = response.into_parts();
    Ok(HttpResponse {
        url: url.clone(),
        status: head.status,
        headers: head.headers,
        body,
        _driver: driver,
        _sender: sender,
    })
}

fn message(
    request: &HttpRequest,
    asked: &ServerUrl,
    proxy: Option<&ProxyServer>,
) -> Result<Request<Full<Bytes>>, NetError> {
    let url = &request.url;
    let unfit = || NetError::Request { url: url.to_string() };
    let forwarder = proxy
        .filter(|proxy| !url.is_https() && matches!(proxy.scheme, ProxyScheme::Http | ProxyScheme::Https));
    let target = match forwarder {
        Some(_) => url.absolute_form(),
        None => url.origin_form(),
    };
    let mut message = Request::new(Full::new(request.body.clone()));
    *message.method_mut() = request.method.clone();
    *message.uri_mut() = target.parse::<Uri>().map_err(|_| unfit())?;
    let headers = message.headers_mut();
    headers.insert(
        HOST,
        HeaderValue::from_str(url.host_header()).map_err(|_| unfit())?,
    );
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.extend(request.headers.clone());
    if let Some(known) = credentials(request, asked) {
        headers.insert(AUTHORIZATION, known.basic());
    }
    if let Some(known) = forwarder.and_then(|proxy| proxy.credentials.as_ref()) {
        headers.insert(PROXY_AUTHORIZATION, known.basic());
    }
    Ok(message)
}

/// Credentials of the URL itself; else, on the server of the first request, those of its URL or of
/// the request.
fn credentials<'a>(request: &'a HttpRequest, asked: &'a ServerUrl) -> Option<&'a Credentials> {
    let url = &request.url;
    let at_home = url.is_same_server(asked);
    let further = || request.credentials.as_ref().filter(|_| url.is_https());
    url.credentials()
        .or_else(|| asked.credentials().filter(|_| at_home))
        .or_else(|| further().filter(|_| at_home))
}

impl HttpResponse {
    /// URL that it came from: the one requested, or the target of redirects.
    #[must_use]
    pub const fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The next bytes of the body; `None` after the last. Cancel-safe.
    ///
    /// # Errors
    /// If the connection breaks before the body's end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NetError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(bytes) = frame?.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// Longest value of a header that is shown, in characters.
const LONGEST: usize = 60;

/// The encoding of a body, if it has one. None is ever requested. Servers declare one even for
/// unencoded files whose names end in `.gz`: it explains an error, and is no error by itself.
#[must_use]
pub fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let values: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        .filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case("identity"))
        .collect();
    (!values.is_empty()).then(|| values.join(", ").chars().take(LONGEST).collect())
}

/// Whether the body is a web page.
#[must_use]
pub fn is_web_page(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .map(|value| value.as_bytes().to_ascii_lowercase());
    value.is_some_and(|value| value.starts_with(b"text/html") || value.starts_with(b"application/xhtml"))
}

/// End of a sentence about a status by which a network or a proxy requires a login.
#[must_use]
pub const fn login_wanted(status: u16) -> Option<&'static str> {
    match status {
        407 => Some(": the proxy wants a user name and a password; its URL takes both before its host"),
        511 => Some(": the network wants a login, at its login page, before it lets anybody through"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_and_plain_is_none() {
        let told = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            content_encoding(&headers)
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["Identity", ""]), None);
        assert_eq!(told(&["gzip"]).as_deref(), Some("gzip"));
        assert_eq!(told(&["br", "zstd"]).as_deref(), Some("br, zstd"));
        assert_eq!(told(&[&"x".repeat(100)]).unwrap().len(), LONGEST);
    }
}
