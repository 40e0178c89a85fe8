//! The Omaha client: one POST to a server, and again if it gives no answer at all.
//!
//! ```text
//!  post ──▶ attempt, 10 min at most ──2xx──▶ body, 1 MiB at most
//!   ▲  10 s    │
//!   └──────────┘ no HTTP answer, as often as Retries says
//! ```

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use thiserror::Error;
use tokio::time::{sleep, timeout};

use super::code::{ErrorCode, HttpStatus};
use super::reply::Reply;
use crate::net::{
    HttpClient, HttpRequest, HttpResponse, NetError, Proxies, RedirectFault, ServerUrl, UrlFault,
    content_encoding, is_web_page, login_wanted,
};
use crate::status::Trigger;

/// For one connection to come up.
const CONNECT: Duration = Duration::from_secs(30);
/// A connection that brings nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(90);
/// For one attempt, redirects and all.
const WHOLE: Duration = Duration::from_secs(600);
/// Between two tries at a server that gives no HTTP answer.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Longest answer read, in bytes; real ones have a few kilobytes.
const MAX_ANSWER: usize = 1 << 20;

/// How often a server that gives no HTTP answer is tried again, 10 s apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// Never: events and pings.
    None,
    /// For a check: once if an operator waits for it, three times if it comes by schedule.
    Check(Trigger),
}

impl Retries {
    const fn count(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Check(Trigger::Operator) => 1,
            Self::Check(Trigger::Schedule) => 3,
        }
    }
}

/// Why a POST failed. URLs are without user, password and query.
#[derive(Debug, Error)]
pub enum PostError {
    /// A status other than 2xx.
    #[error("{url} answered with HTTP status {status}{}", what_to_do(*status))]
    Status {
        /// URL of the server.
        url: String,
        /// HTTP status of the answer.
        status: u16,
    },
    /// A redirect that is not followed.
    #[error("{url} answered with HTTP status {status}, a redirect that is not followed: {fault}")]
    Redirect {
        /// URL of the server.
        url: String,
        /// HTTP status of the answer.
        status: u16,
        /// The rule that the redirect breaks.
        fault: RedirectFault,
    },
    /// No answer, or half of one.
    #[error("{url} gave no HTTP answer")]
    NoAnswer {
        /// URL of the server.
        url: String,
        /// The error of the request.
        source: Box<NetError>,
    },
    /// As this machine is set up, nobody can be asked.
    #[error("{url} can't be asked")]
    Unaskable {
        /// URL of the server.
        url: String,
        /// The error of the request.
        source: Box<NetError>,
    },
    /// An answer that took longer than anybody waits.
    #[error("{url} gave no whole answer in {} s", WHOLE.as_secs())]
    Endless {
        /// URL of the server.
        url: String,
    },
    /// An answer of absurd length.
    #[error("{url} answered with more than {MAX_ANSWER} bytes")]
    TooLong {
        /// URL of the server.
        url: String,
    },
    /// The server's URL is none.
    #[error("the server {:?} is no http or https URL", .0.url)]
    Url(#[from] UrlFault),
}

impl PostError {
    /// The HTTP status, if there was one.
    #[must_use]
    pub const fn status(&self) -> HttpStatus {
        match self {
            Self::Status { status, .. } | Self::Redirect { status, .. } => HttpStatus::Status(*status),
            Self::NoAnswer { .. }
            | Self::Unaskable { .. }
            | Self::Endless { .. }
            | Self::TooLong { .. }
            | Self::Url(_) => HttpStatus::None,
        }
    }

    /// The code to report when a check fails so.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::Http(self.status())
    }

    const fn may_pass(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::Endless { .. })
    }
}

/// Posts documents to Omaha servers.
#[derive(Debug, Clone)]
pub struct Client {
    http: HttpClient,
    retry_after: Duration,
}

impl Default for Client {
    fn default() -> Self {
        Self::new(Proxies::default())
    }
}

impl Client {
    /// A client with the proxies of the environment.
    #[must_use]
    pub fn from_env() -> Self {
        Self::new(Proxies::from_env())
    }

    /// A client with these proxies.
    #[must_use]
    pub const fn new(proxies: Proxies) -> Self {
        Self {
            http: HttpClient::new(proxies, CONNECT).patient_for(SILENCE),
            retry_after: RETRY_AFTER,
        }
    }

    /// Posts `document` (`text/xml`) to `url` and gives the answer, with a body of at most 1 MiB.
    /// An attempt takes at most ten minutes; a connection that is silent for 90 s is given up.
    /// Dropping the future hangs up.
    ///
    /// # Errors
    /// [`PostError`], after as many `retries`.
    pub async fn post(&self, url: &str, document: String, retries: Retries) -> Result<Reply, PostError> {
        let url = ServerUrl::parse(url)?;
        tracing::info!("asking {url}:\n{document}");
        let document = Bytes::from(document);
        let mut retries = retries.count();
        loop {
            match self.attempt(&url, document.clone()).await {
                Err(error) if error.may_pass() && retries > 0 => {
                    self.log_retry(&error);
                    retries -= 1;
                    sleep(self.retry_after).await;
                }
                result => return result,
            }
        }
    }

    async fn attempt(&self, url: &ServerUrl, document: Bytes) -> Result<Reply, PostError> {
        let exchange = async {
            let response = self.http.send(request(url, document)).await;
            reply(url, response.map_err(|error| of_net(url, error))?).await
        };
        let endless = || PostError::Endless { url: url.to_string() };
        timeout(WHOLE, exchange).await.unwrap_or_else(|_| Err(endless()))
    }

    fn log_retry(&self, error: &(dyn std::error::Error + 'static)) {
        tracing::warn!(error, "trying again in {} s", self.retry_after.as_secs());
    }
}

fn request(url: &ServerUrl, document: Bytes) -> HttpRequest {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    HttpRequest {
        method: Method::POST,
        url: url.clone(),
        headers,
        body: document,
        credentials: None,
    }
}

async fn reply(asked: &ServerUrl, response: HttpResponse) -> Result<Reply, PostError> {
    if !response.status().is_success() {
        return Err(PostError::Status {
            url: response.url().to_string(),
            status: response.status().as_u16(),
        });
    }
    let elsewhere = !response.url().is_same_server(asked);
    Ok(Reply {
        encoding: content_encoding(response.headers()),
        is_web_page: is_web_page(response.headers()),
        redirected_to: elsewhere.then(|| response.url().to_string()),
        body: body(asked, response).await?,
    })
}

/// What the operator does about a status, if that is known.
fn what_to_do(status: u16) -> &'static str {
    match (status, login_wanted(status)) {
        (_, Some(login)) => login,
        (401, _) => ": it wants a user name and a password; SERVER takes both before its host",
        (403, _) => {
            ": it refuses this node; a proxy, or a list of addresses at the server, may stand behind that"
        }
        (404 | 405 | 410, _) => {
            ": nobody answers checks there; SERVER must be the URL where an update server does, such as \
             https://nebraska.example/v1/update/"
        }
        _ => "",
    }
}

async fn body(url: &ServerUrl, mut response: HttpResponse) -> Result<Vec<u8>, PostError> {
    let url = || url.to_string();
    let mut body = Vec::new();
    loop {
        let silence = || PostError::NoAnswer {
            url: url(),
            source: Box::new(NetError::Silence {
                peer: "the server".to_owned(),
                within: SILENCE,
            }),
        };
        let chunk = timeout(SILENCE, response.chunk()).await.map_err(|_| silence())?;
        let chunk = chunk.map_err(|error| PostError::NoAnswer {
            url: url(),
            source: Box::new(error),
        })?;
        let Some(chunk) = chunk else { return Ok(body) };
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Err(PostError::TooLong { url: url() });
        }
    }
}

fn of_net(asked: &ServerUrl, error: NetError) -> PostError {
    let (url, is_final) = (asked.to_string(), error.is_final());
    match error {
        NetError::Redirect { url, status, fault } => PostError::Redirect { url, status, fault },
        error if is_final => PostError::Unaskable {
            url,
            source: Box::new(error),
        },
        error => PostError::NoAnswer {
            url,
            source: Box::new(error),
        },
    }
}

#[cfg(test)]
mod tests;
