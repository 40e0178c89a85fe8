//! Requests to a lock's server: several endpoints, no redirects, limits on everything that comes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::time::timeout;

use super::error::LockError;
use crate::net::{ClientTls, HttpClient, HttpRequest, Proxies, ServerUrl, is_web_page};
use crate::printable::printable;

/// For one connection to come up.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest answer read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// Characters of an answer that are told.
const LONGEST_SHOWN: usize = 200;

/// The endpoints of one server, of which each can answer.
#[derive(Debug)]
pub(super) struct Endpoints {
    client: HttpClient,
    /// Absolute URLs without a last slash.
    urls: Vec<String>,
    limit: Duration,
    /// The one that has answered last.
    current: AtomicUsize,
}

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) url: String,
    pub(super) status: u16,
    /// Whether its server calls it a web page: no lock's server does.
    pub(super) is_web_page: bool,
    pub(super) body: Vec<u8>,
}

/// A request, for any of the endpoints.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) method: Method,
    /// Path and query, with a slash first.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Endpoints {
    /// Each is given `limit` for its whole answer.
    pub(super) fn new(urls: &[String], proxies: Proxies, tls: Option<ClientTls>, limit: Duration) -> Self {
        let mut client = HttpClient::new(proxies, CONNECT).without_redirects();
        if let Some(tls) = tls {
            client = client.with_tls(tls);
        }
        Self {
            client,
            urls: urls
                .iter()
                .map(|url| url.trim_end_matches('/').to_owned())
                .collect(),
            limit,
            current: AtomicUsize::new(0),
        }
    }

    /// Asks one endpoint after the other, from the one that has answered last, until one gives an answer that is no
    /// failure of its own (5xx).
    pub(super) async fn ask(&self, question: &Question) -> Result<Answer, LockError> {
        let first = self.current.load(Ordering::Relaxed);
        let mut last = None;
        for turn in 0..self.urls.len() {
            let at = (first + turn) % self.urls.len();
            match self.ask_one(&self.urls[at], question).await {
                Ok(answer) if answer.status < 500 => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(answer) => last = Some(answer.refused()),
                Err(error) => last = Some(error),
            }
        }
        // Invariant: settings without an endpoint are refused.
        Err(last.unwrap_or_else(|| LockError::Nonsense {
            url: String::new(),
            why: "no endpoint is set".to_owned(),
        }))
    }

    async fn ask_one(&self, base: &str, question: &Question) -> Result<Answer, LockError> {
        let nonsense = |why: String| LockError::Nonsense {
            url: crate::net::redact_url(base),
            why,
        };
        let url = ServerUrl::parse(&format!("{base}{}", question.path));
        let url = url.map_err(|fault| nonsense(fault.to_string()))?;
        let shown = url.to_string();
        let request = HttpRequest {
            method: question.method.clone(),
            url,
            headers: question.headers.clone(),
            body: question.body.clone(),
            credentials: None,
        };
        let exchange = self.exchange(request, shown.clone());
        timeout(self.limit, exchange).await.unwrap_or_else(|_| {
            Err(LockError::Endless {
                url: shown,
                seconds: self.limit.as_secs(),
            })
        })
    }

    async fn exchange(&self, request: HttpRequest, url: String) -> Result<Answer, LockError> {
        let no_answer = |source| LockError::NoAnswer {
            url: url.clone(),
            source: Box::new(source),
        };
        let mut response = self.client.send(request).await.map_err(no_answer)?;
        let is_web_page = is_web_page(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(LockError::TooLong {
                    url,
                    most: MAX_ANSWER,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: response.status().as_u16(),
            url,
            is_web_page,
            body,
        })
    }
}

impl Answer {
    /// As a failure.
    pub(super) fn refused(&self) -> LockError {
        let said = String::from_utf8_lossy(&self.body);
        let said: String = said.trim().chars().take(LONGEST_SHOWN).collect();
        LockError::Status {
            url: self.url.clone(),
            status: self.status,
            said: printable(&said).into_owned(),
        }
    }

    /// Whether `text` stands in its body.
    pub(super) fn has(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(text)
    }

    pub(super) fn nonsense(&self, why: impl Into<String>) -> LockError {
        LockError::Nonsense {
            url: self.url.clone(),
            why: why.into(),
        }
    }

    /// Its body as JSON.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, LockError> {
        serde_json::from_slice(&self.body).map_err(|error| self.nonsense(error.to_string()))
    }
}
