//! Origin of a payload: what is asked for, one URL of it, and the requests to that.

use std::collections::VecDeque;
use std::error::Error;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::sleep;

use super::error::Interruption;
use super::rate::{StallDetector, TooSlow};
use super::{Entity, FetchError, FetchSettings};
use crate::net::{
    Credentials, HttpClient, HttpRequest, HttpResponse, NetError, Proxies, ServerUrl, content_encoding,
    is_web_page,
};

/// A download of one payload.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// An http or https URL.
    pub url: String,
    /// Further URLs of the same payload, each tried once if the one before is refused (403, 404,
    /// 410) or too slow.
    pub fallbacks: Vec<String>,
    /// Offset in bytes of the first byte wanted; 0 for a fresh download.
    pub start: u64,
    /// Version of the file that the bytes before `start` came from, if its server named one. For
    /// the journal only: hashes decide whether it is the same payload.
    pub entity: Option<Entity>,
    /// Size in bytes of the whole payload, as offered.
    pub size: u64,
    /// For the payload's server; never sent over plain http, nor to a host it redirects to.
    pub credentials: Option<Credentials>,
}

/// Further URLs of a payload, each tried once.
#[derive(Debug)]
pub(super) struct FallbackUrls {
    urls: VecDeque<String>,
    credentials: Option<Credentials>,
}

impl FallbackUrls {
    pub(super) fn new(urls: Vec<String>, credentials: Option<Credentials>) -> Self {
        Self {
            urls: urls.into(),
            credentials,
        }
    }

    /// The first URL, or the next one that can be asked in place of one that is none.
    pub(super) fn first(&mut self, url: &str, settings: &FetchSettings) -> Result<Origin, FetchError> {
        Origin::new(url, self.credentials.clone(), settings).or_else(|error| {
            let next = self.next(settings);
            next.inspect(|_| pass_over(&error)).ok_or(error)
        })
    }

    /// The next one that can be asked; none after the last.
    pub(super) fn next(&mut self, settings: &FetchSettings) -> Option<Origin> {
        while let Some(url) = self.urls.pop_front() {
            match Origin::new(&url, self.credentials.clone(), settings) {
                Ok(origin) => return Some(origin),
                Err(error) => pass_over(&error),
            }
        }
        None
    }
}

#[derive(Debug)]
pub(super) struct Origin {
    client: HttpClient,
    url: ServerUrl,
    /// The URL without user, password and query.
    shown: String,
    credentials: Option<Credentials>,
    /// Whether credentials were withheld, since the URL is not https.
    withheld: bool,
}

impl Origin {
    /// Proxies are those of the environment.
    pub(super) fn new(
        url: &str,
        credentials: Option<Credentials>,
        settings: &FetchSettings,
    ) -> Result<Self, FetchError> {
        let url = ServerUrl::parse(url)?;
        let shown = url.to_string();
        let withheld = credentials.is_some() && !url.is_https();
        if withheld {
            tracing::warn!("DOWNLOAD_PASSWORD is not sent to {shown}: it goes over https only");
        }
        Ok(Self {
            client: HttpClient::new(Proxies::from_env(), settings.connect_timeout),
            shown,
            credentials: credentials.filter(|_| !withheld),
            url,
            withheld,
        })
    }

    /// The URL without user, password and query.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// The error of a status other than success.
    pub(super) fn refused(&self, status: u16) -> FetchError {
        let url = self.shown.clone();
        match status {
            401 | 403 if self.withheld => FetchError::PasswordWithheld { url, status },
            _ => FetchError::Status { url, status },
        }
    }

    /// Adds the cause to `error` if the head of the response shows it: an encoding, or a web page.
    pub(super) fn explain(&self, error: FetchError, response: &HttpResponse) -> FetchError {
        let (url, source) = (self.shown.clone(), Box::new(error));
        if let Some(encoding) = content_encoding(response.headers()) {
            return FetchError::Encoded {
                url,
                encoding,
                source,
            };
        }
        if is_web_page(response.headers()) {
            let elsewhere = !response.url().is_same_server(&self.url);
            let from = elsewhere.then(|| response.url().to_string());
            return FetchError::WebPage { url, from, source };
        }
        *source
    }

    /// A request for the bytes from `start`, up to `end` or the file's, without a condition on the
    /// file's version.
    pub(super) fn get(&self, start: u64, end: Option<u64>) -> HttpRequest {
        let mut request = self.request(Method::GET);
        let range = match end {
            None if start == 0 => None,
            None => Some(format!("bytes={start}-")),
            // The last byte, not the one after it.
            Some(end) => Some(format!("bytes={start}-{}", end.saturating_sub(1))),
        };
        // Invariant: digits are fit for headers.
        if let Some(range) = range.and_then(|range| HeaderValue::try_from(range).ok()) {
            request.headers.insert(RANGE, range);
        }
        request.credentials.clone_from(&self.credentials);
        request
    }

    /// A request for the head of the file alone.
    pub(super) fn head(&self) -> HttpRequest {
        self.request(Method::HEAD)
    }

    /// A request that posts `body`.
    pub(super) fn post(&self, content_type: &'static str, body: Bytes) -> HttpRequest {
        let mut request = self.request(Method::POST);
        let content_type = HeaderValue::from_static(content_type);
        request.headers.insert(CONTENT_TYPE, content_type);
        request.body = body;
        request
    }

    fn request(&self, method: Method) -> HttpRequest {
        HttpRequest {
            method,
            url: self.url.clone(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            credentials: None,
        }
    }

    /// Sends one request. The outer error is final, the inner one may pass.
    pub(super) async fn send(
        &self,
        request: HttpRequest,
        settings: &FetchSettings,
    ) -> Result<Result<HttpResponse, Interruption>, FetchError> {
        let mut pace = StallDetector::new(settings);
        match pace.wait(self.client.send(request)).await {
            Ok(Ok(response)) => Ok(Ok(response)),
            Ok(Err(error)) => self.sort(error).map(Err),
            Err(TooSlow) => Ok(Err(pace.stalled())),
        }
    }

    /// Sends a request until any response comes, within the retries of the settings.
    pub(super) async fn insist(
        &self,
        request: impl Fn() -> HttpRequest,
        settings: &FetchSettings,
    ) -> Result<HttpResponse, FetchError> {
        let mut tries = 1;
        loop {
            let source = match self.send(request(), settings).await? {
                Ok(response) => return Ok(response),
                Err(why) => why,
            };
            if tries > settings.no_answer_retries {
                return Err(FetchError::NoAnswer {
                    url: self.shown.clone(),
                    tries,
                    source,
                });
            }
            tracing::info!(
                url = self.shown,
                tries,
                reason = &source as &dyn Error,
                "no answer"
            );
            tries += 1;
            sleep(settings.no_answer_delay).await;
        }
    }

    /// Separates permanent errors from those that may pass.
    fn sort(&self, error: NetError) -> Result<Interruption, FetchError> {
        match error {
            NetError::Redirect { fault, .. } => Err(FetchError::Redirect {
                url: self.shown.clone(),
                fault,
            }),
            error if error.is_final() => Err(FetchError::Unaskable {
                url: self.shown.clone(),
                source: Box::new(error),
            }),
            error => Ok(Interruption::Connection(Box::new(error))),
        }
    }
}

/// Says that another URL is asked in place of one that can't be.
fn pass_over(error: &FetchError) {
    tracing::warn!(error = error as &dyn Error, "a URL of the offer is passed over");
}
