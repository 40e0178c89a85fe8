//! HTTP service: routes by path, and records for the journal.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

use super::answer::ServerAnswer;
use super::catalog::{Catalog, ServedPackage};
use super::download::{self, AnswerBody, FilePart};
use super::journal::{Download, Exchange, RequestJournal, RequestRecord};
use super::question::{Ask, OmahaQuestion};

/// Largest Omaha request: a node's takes about 1 KiB.
const MAX_REQUEST: usize = 64 << 10;

const PACKAGES: &str = "/packages/";

/// Answers requests; one clone per connection.
#[derive(Debug, Clone)]
pub(super) struct HttpService {
    address: SocketAddr,
    catalog: watch::Receiver<Option<Arc<Catalog>>>,
    journal: RequestJournal,
}

/// A request that is answered with a status alone.
struct HttpRefusal {
    status: StatusCode,
    reason: String,
}

impl HttpRefusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
        }
    }
}

impl HttpService {
    pub(super) fn new(
        address: SocketAddr,
        catalog: watch::Receiver<Option<Arc<Catalog>>>,
        journal: RequestJournal,
    ) -> Self {
        Self {
            address,
            catalog,
            journal,
        }
    }

    pub(super) async fn answer(
        &self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let answered = self.route(peer, request).await;
        Ok(answered.unwrap_or_else(|refusal| self.refuse(peer, what, &refusal)))
    }

    fn refuse(&self, peer: SocketAddr, request: String, refusal: &HttpRefusal) -> Response<AnswerBody> {
        let HttpRefusal { status, reason } = refusal;
        tracing::warn!("{peer}: {request:?} refused with {status}: {reason}");
        self.journal.push(RequestRecord::Refused {
            request,
            status: status.as_u16(),
            reason: reason.clone(),
        });
        let mut response = Response::new(whole(format!("{reason}\n")));
        *response.status_mut() = *status;
        response
    }

    async fn route(
        &self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, HttpRefusal> {
        let path = request.uri().path();
        let is_omaha = path == "/v1/update" || path.starts_with("/v1/update/");
        let package = path.strip_prefix(PACKAGES).map(str::to_owned);
        match (request.method(), is_omaha, package) {
            (&Method::POST, true, _) => self.omaha(peer, request).await,
            (&(Method::GET | Method::HEAD), _, Some(name)) => self.package(peer, &name, &request).await,
            (_, true, _) | (_, _, Some(_)) => Err(HttpRefusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this method is not for this path",
            )),
            _ => Err(HttpRefusal::new(StatusCode::NOT_FOUND, "no such path")),
        }
    }

    async fn omaha(
        &self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, HttpRefusal> {
        let codebase = self.codebase(&request);
        let body = Limited::new(request.into_body(), MAX_REQUEST).collect().await;
        let body = body.map_err(|error| HttpRefusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let body = String::from_utf8(body.to_bytes().into())
            .map_err(|error| HttpRefusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let question = OmahaQuestion::parse(&body)
            .map_err(|error| HttpRefusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let catalog = self.catalog.borrow().clone();
        let answer = ServerAnswer::to(&question, catalog.as_deref(), &codebase);
        tell(peer, &question, answer.offered.as_deref());
        self.journal.push(RequestRecord::Omaha(Exchange {
            body,
            question,
            offered: answer.offered,
        }));
        let mut response = Response::new(whole(answer.xml));
        let kind = header::HeaderValue::from_static("text/xml; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(response)
    }

    /// URL of the packages, with the host name that the node used.
    fn codebase<B>(&self, request: &Request<B>) -> String {
        let host = text(request, &header::HOST).and_then(|host| host.parse::<Authority>().ok());
        let host = host.map_or_else(|| self.address.to_string(), |authority| authority.to_string());
        format!("http://{host}{PACKAGES}")
    }

    async fn package<B>(
        &self,
        peer: SocketAddr,
        name: &str,
        request: &Request<B>,
    ) -> Result<Response<AnswerBody>, HttpRefusal> {
        let catalog = self.catalog.borrow().clone();
        let Some((catalog, package)) = catalog.as_deref().and_then(|all| Some((all, all.find(name)?))) else {
            return Err(HttpRefusal::new(StatusCode::NOT_FOUND, "no such package"));
        };
        let (range, if_range) = (text(request, &header::RANGE), text(request, &header::IF_RANGE));
        let part = FilePart::requested(range, if_range, &package.etag(), package.len);
        let (status, first, len) = match part {
            FilePart::Whole => (StatusCode::OK, 0, package.len),
            FilePart::Range { first, len } => (StatusCode::PARTIAL_CONTENT, first, len),
            FilePart::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
        };
        // hyper sends no body in answer to a HEAD, and takes the length from our header.
        let body = download::body(&package.path, package.len, first, len, catalog.pace()).await;
        let body = body.map_err(|error| {
            let path = package.path.display();
            HttpRefusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("cannot send {path}: {error}"),
            )
        })?;
        tracing::info!(
            "{peer}: {} {name}: {status}, {len} bytes from {first}",
            request.method()
        );
        self.journal.push(RequestRecord::Download(Download {
            name: name.to_owned(),
            range: range.map(str::to_owned),
            if_range: if_range.map(str::to_owned),
            status: status.as_u16(),
            first,
            len,
        }));
        Ok(package_response(package, part, status, len, body))
    }
}

fn package_response(
    package: &ServedPackage,
    part: FilePart,
    status: StatusCode,
    len: u64,
    body: AnswerBody,
) -> Response<AnswerBody> {
    let range = match part {
        FilePart::Whole => None,
        FilePart::Range { first, len } => {
            Some(format!("bytes {first}-{}/{}", first + (len - 1), package.len))
        }
        FilePart::Unsatisfiable => Some(format!("bytes */{}", package.len)),
    };
    let mut builder = Response::builder()
        .status(status)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, len)
        .header(header::ETAG, package.etag());
    if let Some(range) = range {
        builder = builder.header(header::CONTENT_RANGE, range);
    }
    // Every value above is of digits, letters and quotes.
    builder.body(body).unwrap_or_default()
}

fn text<'a, B>(request: &'a Request<B>, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn whole(text: String) -> AnswerBody {
    Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Logs the request of a node. `{:?}`: names come from the network.
fn tell(peer: SocketAddr, question: &OmahaQuestion, offered: Option<&str>) {
    let app = &question.app;
    for ask in &question.asks {
        match (ask, offered) {
            (Ask::Ping, _) => tracing::debug!("{peer}: ping of {:?}", app.machine),
            (Ask::UpdateCheck, Some(version)) => {
                tracing::info!(
                    "{peer}: check by version {:?}, group {:?}: offered {version:?}",
                    app.version,
                    app.track
                );
            }
            (Ask::UpdateCheck, None) => {
                tracing::info!(
                    "{peer}: check by version {:?}, group {:?}: no update",
                    app.version,
                    app.track
                );
            }
            (Ask::Event(event), _) => tracing::info!(
                "{peer}: event {}/{}, code {}, of version {:?}",
                event.kind,
                event.result,
                event.code.unwrap_or_default(),
                app.version
            ),
        }
    }
}
