//! The answer to an update check.

use std::time::Duration;

use thiserror::Error;

use super::code::ErrorCode;
use super::document::{self, DocumentError, Element};
use super::offer::{Offer, OfferError};
use super::refusal;
use super::reply::WebPage;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// `PollInterval`: how long to wait before the next check, if the server cares. Above 0; not
    /// clamped.
    pub poll_interval: Option<Duration>,
    /// The answer itself.
    pub answer: CheckAnswer,
}

/// Whether there is an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckAnswer {
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
    /// A web page.
    #[error("{0}")]
    WebPage(WebPage),
    /// No answer, in an encoding that nobody asked for.
    #[error(
        "the server's answer came in Content-Encoding {encoding:?}, which was not asked for: the server, or a proxy before it, must send it plain"
    )]
    Encoded {
        /// Value of the header.
        encoding: String,
        /// What is wrong with the bytes as they came.
        source: Box<ResponseError>,
    },
    /// No `<updatecheck>` where one belongs.
    #[error(
        "the server's answer has no response/app/updatecheck (application status {app_status:?}): SERVER may be no update server"
    )]
    NoUpdateCheck {
        /// The application's status, if it has any.
        app_status: String,
    },
    /// The server says neither `ok` nor `noupdate`.
    #[error("the server refuses: {}", refusal::explain(status, app_status))]
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
            Self::Document(_) | Self::WebPage(_) => ErrorCode::XmlParse,
            Self::Encoded { source, .. } => source.code(),
            Self::NoUpdateCheck { .. } | Self::Refused { .. } | Self::Offer(_) => ErrorCode::ResponseInvalid,
        }
    }
}

impl Response {
    /// Reads an answer. The first `response/app/updatecheck` counts; of an offer's packages the
    /// first; of its manifests the first. Whatever else is there is left alone.
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
                "ok" => CheckAnswer::Offer(Offer::from_element(check)?),
                "noupdate" => CheckAnswer::NoUpdate,
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
    let app_status = apps.first().map_or("", |app| app.attribute("status")).to_owned();
    found.ok_or_else(|| {
        // Who refuses an application need not speak of its update check.
        if refusal::is_refusal(&app_status) {
            let status = String::new();
            ResponseError::Refused { status, app_status }
        } else {
            ResponseError::NoUpdateCheck { app_status }
        }
    })
}

#[cfg(test)]
mod tests;
