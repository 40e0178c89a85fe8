//! One POST.

use thiserror::Error;

use super::code::{ErrorCode, HttpStatus};

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

/// Why a POST failed.
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
    /// No answer.
    #[error("{url} gave no HTTP answer")]
    NoAnswer {
        /// Whom.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl PostError {
    /// The HTTP status, if there was one.
    #[must_use]
    pub const fn status(&self) -> HttpStatus {
        match self {
            Self::Status { status, .. } => HttpStatus::Status(*status),
            Self::NoAnswer { .. } => HttpStatus::None,
        }
    }

    /// The code to report when a check fails so.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::Http(self.status())
    }
}

/// Posts documents to an Omaha server.
#[derive(Debug, Clone, Default)]
pub struct Client {}

impl Client {
    /// A client with the proxies that the environment names.
    #[must_use]
    pub fn from_env() -> Self {
        Self {}
    }

    /// Posts `document` (`text/xml`) to `url` and gives the answer's body, at most 1 MiB.
    ///
    /// # Errors
    /// [`PostError`], after as many retries as `patience` allows.
    pub async fn post(&self, url: &str, document: String, patience: Patience) -> Result<Vec<u8>, PostError> {
        let _ = (document, patience);
        Err(PostError::NoAnswer {
            url: url.to_owned(),
            source: "not yet".into(),
        })
    }
}
