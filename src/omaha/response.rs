//! The answer to an update check.

use std::time::Duration;

use thiserror::Error;

use super::code::ErrorCode;
use super::document::{self, DocumentError, Element};
use super::offer::{Offer, OfferError};

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// `PollInterval`: how long to wait before the next check, if the server cares. Above 0; not clamped.
    pub poll_interval: Option<Duration>,
    /// The answer itself.
    pub answer: Answer,
}

/// Whether there is an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// There is none.
    NoUpdate,
    /// There is one.
    Offer(Offer),
}

/// Why bytes are no answer.
#[derive(Debug, Error)]
pub enum ResponseError {
    /// No bytes.
    #[error("the server's answer is empty")]
    Empty,
    /// No XML.
    #[error("the server's answer cannot be parsed")]
    Document(#[from] DocumentError),
    /// No `<updatecheck>` where one belongs.
    #[error("the server's answer has no response/app/updatecheck (application status {app_status:?})")]
    NoUpdateCheck {
        /// The application's status; it often holds the reason.
        app_status: String,
    },
    /// The server says neither `ok` nor `noupdate`.
    #[error("the server refuses: update check status {status:?}, application status {app_status:?}")]
    Refused {
        /// The check's status, such as `error-internal`.
        status: String,
        /// The application's status, such as `error-maxUpdatesPerPeriodLimitReached`.
        app_status: String,
    },
    /// An offer that makes no sense.
    #[error("the server's offer makes no sense")]
    Offer(#[from] OfferError),
}

impl ResponseError {
    /// The code to report.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Empty => ErrorCode::EmptyResponse,
            Self::Document(_) => ErrorCode::XmlParse,
            Self::NoUpdateCheck { .. } | Self::Refused { .. } | Self::Offer(_) => ErrorCode::ResponseInvalid,
        }
    }
}

impl Response {
    /// Reads an answer. The first `response/app/updatecheck` counts; of an offer's packages the first; of
    /// its manifests the first. Whatever else is there is left alone.
    ///
    /// # Errors
    /// [`ResponseError`]; each names what is wrong with which part.
    pub fn parse(body: &[u8]) -> Result<Self, ResponseError> {
        if body.is_empty() {
            return Err(ResponseError::Empty);
        }
        let root = document::parse(body)?;
        let (app, check) = update_check(&root)?;
        let seconds = check.attribute("PollInterval").parse::<u64>().ok();
        Ok(Self {
            poll_interval: seconds.filter(|&s| s > 0).map(Duration::from_secs),
            answer: match check.attribute("status") {
                "ok" => Answer::Offer(Offer::from_element(check)?),
                "noupdate" => Answer::NoUpdate,
                status => {
                    return Err(ResponseError::Refused {
                        status: status.to_owned(),
                        app_status: app.attribute("status").to_owned(),
                    });
                }
            },
        })
    }
}

fn update_check(root: &Element) -> Result<(&Element, &Element), ResponseError> {
    let apps: Vec<_> = match root.name.as_str() {
        "response" => root.children("app").collect(),
        _ => Vec::new(),
    };
    let found = apps
        .iter()
        .find_map(|app| Some((*app, app.children("updatecheck").next()?)));
    found.ok_or_else(|| ResponseError::NoUpdateCheck {
        app_status: apps.first().map_or("", |app| app.attribute("status")).to_owned(),
    })
}

#[cfg(test)]
mod tests;
