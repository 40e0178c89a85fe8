//! The answer to an update check, or the web page that came in its place.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::code::ErrorCode;
use super::document::{self, DocumentError, Element};
use super::offer::{Offer, OfferError};
use super::refusal;

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

/// Bytes of a body in which a page shows itself as one.
const BEGINNING: usize = 1024;

/// Characters of a title that are told.
const LONGEST_TITLE: usize = 80;

/// How pages begin, in lower case.
const OPENINGS: [&str; 5] = ["<!doctype html", "<html", "<head", "<body", "<script"];

/// A page that came in place of an answer, as far as people want to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebPage {
    /// Its title, if it has one.
    title: Option<String>,
    /// Whether it has a field for a password.
    asks_password: bool,
    /// Where a redirect to another server had led.
    from: Option<String>,
}

impl WebPage {
    /// The page that `body` is by its beginning, which came `from` another server than was asked;
    /// nothing if it is none.
    pub(super) fn of(body: &[u8], from: Option<&str>) -> Option<Self> {
        let beginning = lower_case(&body[..body.len().min(BEGINNING)]);
        let is_page = OPENINGS.iter().any(|opening| beginning.contains(opening));
        is_page.then(|| Self::declared(body, from))
    }

    /// The same of a body that its server calls a page.
    pub(super) fn declared(body: &[u8], from: Option<&str>) -> Self {
        let page = lower_case(body);
        let asks_password = ["type=\"password\"", "type='password'", "type=password"]
            .iter()
            .any(|field| page.contains(field));
        Self {
            title: title(&String::from_utf8_lossy(body)),
            asks_password,
            from: from.map(str::to_owned),
        }
    }

    /// Whether somebody is asked to log in: networks that want that send every request to such a
    /// page.
    const fn is_login(&self) -> bool {
        self.asks_password || self.from.is_some()
    }
}

impl fmt::Display for WebPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_login() {
            "a login page"
        } else {
            "a web page"
        })?;
        if let Some(title) = &self.title {
            write!(f, " ({title:?})")?;
        }
        if let Some(from) = &self.from {
            write!(f, " at {from}")?;
        }
        f.write_str(if self.is_login() {
            " came instead of an answer: the network, or a proxy in it, wants a login first, or SERVER is no update server"
        } else {
            " came instead of an answer: SERVER must be the URL where an update server answers checks, such as \
             https://nebraska.example/v1/update/"
        })
    }
}

/// ASCII letters in lower case; bytes stay where they are.
fn lower_case(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes.to_ascii_lowercase()).into_owned()
}

/// What stands between the tags, on one line.
fn title(page: &str) -> Option<String> {
    let tags = page.to_ascii_lowercase();
    let opening = tags.find("<title")?;
    let start = opening + tags[opening..].find('>')? + 1;
    let end = start + tags[start..].find("</title")?;
    let words: Vec<_> = page[start..end].split_whitespace().collect();
    let title: String = words.join(" ").chars().take(LONGEST_TITLE).collect();
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod web_page_tests {
    use super::*;

    fn told(body: &str, from: Option<&str>) -> Option<String> {
        WebPage::of(body.as_bytes(), from).map(|page| page.to_string())
    }

    #[test]
    fn pages_are_told_from_answers_and_login_pages_from_pages() {
        let page =
            "\u{feff}<!DOCTYPE html>\n<html><head><title lang=en>\n Nebraska\u{202e} </title></head><body>";
        let told_of = |body: &str, from| told(body, from).unwrap_or_default();
        assert!(told_of(page, None).starts_with("a web page (\"Nebraska\\u{202e}\") came"));
        assert!(told_of(page, None).contains("SERVER must be the URL"));
        let elsewhere = told_of(page, Some("http://wifi.example/"));
        assert!(elsewhere.starts_with("a login page (\"Nebraska\\u{202e}\") at http://wifi.example/ came"));
        let form = told_of("<HTML><form><input TYPE=Password></form></HTML>", None);
        assert!(form.starts_with("a login page came"), "{form}");
        for answer in ["garbage", "", "<?xml version=\"1.0\"?><response/>", "\u{1f8b}"] {
            assert_eq!(told(answer, Some("http://wifi.example/")), None, "{answer}");
        }
    }

    #[test]
    fn no_page_is_too_odd_to_be_told_of() {
        for page in [
            "<html><title",
            "<html><title>",
            "<html></title><title>",
            "<html><title></title>",
        ] {
            assert!(
                told(page, None).is_some_and(|told| told.starts_with("a web page came")),
                "{page}"
            );
        }
        let long = format!("<html><title>{}</title>", "é".repeat(1000));
        assert!(told(&long, None).is_some_and(|told| told.chars().count() < 400));
    }
}
