//! One POST to an Omaha server, in whatever way servers and networks answer it.
//!
//! Every request gets a TCP connection of its own, and its answer is read even if the request could not
//! be sent to its end. That makes it survive the smallest servers in the field, which write a canned
//! answer without reading the question and hang up; a pool of connections, or a client that speaks only
//! while it is listened to, fails there every other time.
//!
//! ```text
//!  post ──▶ attempt ──▶ hop ──2xx──▶ body
//!   ▲  10 s    │         ▲ │
//!   └──────────┘         └─┘ redirect: at most 10, never from http to https or back
//!    no HTTP answer, as often as Patience allows
//! ```
//!
//! The work is done in a blocking thread. Dropping the future hangs up its connection, so that the thread
//! ends soon too.

mod interrupt;
mod proxy;
mod redirect;
mod wire;

use std::time::Duration;

use thiserror::Error;
use url::Url;

use self::interrupt::Interrupt;
use self::proxy::Proxies;
use super::code::{ErrorCode, HttpStatus};

/// Between two tries at a server that gives no HTTP answer.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Longest answer read, in bytes; real ones have a few kilobytes.
const MAX_ANSWER: u64 = 1 << 20;

/// How often a server that gives no HTTP answer is tried again, 10 s apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Never: events and pings.
    None,
    /// Once: somebody waits for a check.
    Interactive,
    /// Three times: a check by schedule.
    Scheduled,
}

impl Patience {
    const fn retries(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Interactive => 1,
            Self::Scheduled => 3,
        }
    }
}

/// Why a POST failed. URLs are without their passwords.
#[derive(Debug, Error)]
pub enum PostError {
    /// A status other than 2xx.
    #[error("{url} answered with HTTP status {status}")]
    Status {
        /// Whom.
        url: String,
        /// What it said.
        status: u16,
    },
    /// A redirect that is not followed.
    #[error("{url} answered with HTTP status {status} to {target:?}: {reason}")]
    Redirect {
        /// Whom.
        url: String,
        /// What it said.
        status: u16,
        /// Where it points.
        target: String,
        /// Why we don't go there.
        reason: &'static str,
    },
    /// No answer, or half of one.
    #[error("{url} gave no HTTP answer")]
    NoAnswer {
        /// Whom.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// An answer of absurd length.
    #[error("{url} answered with more than {MAX_ANSWER} bytes")]
    TooLong {
        /// Whom.
        url: String,
    },
    /// The server's URL is none.
    #[error("the server {url:?} is no http or https URL")]
    Url {
        /// The setting.
        url: String,
    },
    /// The thread that did the work panicked, or the runtime is shutting down.
    #[error("the request's thread ended early")]
    Thread(#[from] tokio::task::JoinError),
}

impl PostError {
    /// The HTTP status, if there was one.
    #[must_use]
    pub const fn status(&self) -> HttpStatus {
        match self {
            Self::Status { status, .. } | Self::Redirect { status, .. } => HttpStatus::Status(*status),
            Self::NoAnswer { .. } | Self::TooLong { .. } | Self::Url { .. } | Self::Thread(_) => {
                HttpStatus::None
            }
        }
    }

    /// The code to report when a check fails so.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::Http(self.status())
    }
}

/// Posts documents to Omaha servers.
#[derive(Debug, Clone, Default)]
pub struct Client {
    proxies: Proxies,
}

impl Client {
    /// A client with the proxies of the environment: `http_proxy` or `https_proxy` by the server's scheme,
    /// else `all_proxy`, unless `no_proxy` names the host; each in lower or upper case.
    #[must_use]
    pub fn from_env() -> Self {
        Self::with_environment(|name| std::env::var(name).ok())
    }

    /// As [`Self::from_env`], with variables from `variable`.
    pub fn with_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            proxies: Proxies::read(variable),
        }
    }

    /// Posts `document` (`text/xml`) to `url` and gives the answer's body, at most 1 MiB. An attempt takes
    /// at most ten minutes; a connection that is silent for 90 s is given up.
    ///
    /// # Errors
    /// [`PostError`], after as many retries as `patience` allows.
    pub async fn post(&self, url: &str, document: String, patience: Patience) -> Result<Vec<u8>, PostError> {
        let url = redirect::parse(url)?;
        tracing::info!("asking {}:\n{document}", redirect::name(&url));
        let mut retries = patience.retries();
        loop {
            match self.attempt(url.clone(), document.clone()).await {
                Err(error @ PostError::NoAnswer { .. }) if retries > 0 => {
                    log_retry(&error);
                    retries -= 1;
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                result => return result,
            }
        }
    }

    async fn attempt(&self, url: Url, document: String) -> Result<Vec<u8>, PostError> {
        let interrupt = Interrupt::default();
        let _hang_up_when_dropped = interrupt.guard();
        let proxies = self.proxies.clone();
        let work = move || redirect::follow(url, &document, &proxies, &interrupt);
        tokio::task::spawn_blocking(work).await?
    }
}

fn log_retry(error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(error, "trying again in {} s", RETRY_AFTER.as_secs());
}

#[cfg(test)]
mod tests;
