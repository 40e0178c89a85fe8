//! Response to a request for a payload: the check of its head before any byte of its body (RFC 9110
//! §14, §15), the version of the file as its server names it (§8.8), and the body.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED, TRANSFER_ENCODING};

use super::error::Interruption;
use super::rate::{StallDetector, TooSlow};
use super::{FetchError, FetchSettings};
use crate::net::HttpResponse;

/// Longer validators are not worth keeping in a checkpoint; the file then counts as unnamed.
const LONGEST_ENTITY: usize = 1024;

/// A server's name for one version of a file: its strong entity tag, else its modification date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity(String);

impl Entity {
    /// Parses the text of [`Self::as_str`]; `None` if it cannot be an entity.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
        let strong = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
        // A date starts with the name of a day; a weak tag (`W/"…"`) promises no equal bytes.
        let date = text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.starts_with("W/");
        (printable && text.len() <= LONGEST_ENTITY && (strong || date)).then(|| Self(text.to_owned()))
    }

    /// Its text, for a checkpoint.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The entity that `headers` name.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        [ETAG, LAST_MODIFIED]
            .iter()
            .filter_map(|name| headers.get(name)?.to_str().ok())
            .find_map(Self::parse)
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The request that a response is checked against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The URL without user, password and query.
    pub(super) url: &'a str,
    /// Offset of the first byte wanted.
    pub(super) start: u64,
    /// Offset after the last byte wanted, if only a part of the file is.
    pub(super) end: Option<u64>,
    /// Size of the payload, in bytes.
    pub(super) size: u64,
    /// Version of the file that the bytes before `start` came from.
    pub(super) entity: Option<&'a Entity>,
}

/// A usable body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Offset in the file of the body's first byte: the one requested, or 0.
    pub(super) start: u64,
    /// Version of the file it belongs to.
    pub(super) entity: Option<Entity>,
    /// Meaning of the body's end.
    pub(super) ending: Ending,
}

/// Way to tell a body's end from a broken connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The length was announced and fits.
    Counted,
    /// The last chunk marks the end: then the whole file was sent.
    WholeFile,
    /// The close of the connection, or the end of a part: more may follow.
    Open,
}

/// Checks status line and headers against the request.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, asked: &Asked) -> Result<Part, FetchError> {
    match status {
        StatusCode::OK => whole(headers, asked),
        StatusCode::PARTIAL_CONTENT => partial(headers, asked),
        StatusCode::RANGE_NOT_SATISFIABLE => Err(unsatisfiable(headers, asked)),
        other => Err(FetchError::Status {
            url: asked.url.to_owned(),
            status: other.as_u16(),
        }),
    }
}

fn whole(headers: &HeaderMap, asked: &Asked) -> Result<Part, FetchError> {
    if asked.end.is_some() {
        return Err(FetchError::NoRanges {
            url: asked.url.to_owned(),
        });
    }
    let ending = match length(headers) {
        Some(served) if served != asked.size => return Err(wrong_size(asked, served)),
        Some(_) => Ending::Counted,
        None if headers.contains_key(TRANSFER_ENCODING) => Ending::WholeFile,
        None => Ending::Open,
    };
    Ok(Part {
        start: 0,
        entity: Entity::of(headers),
        ending,
    })
}

fn partial(headers: &HeaderMap, asked: &Asked) -> Result<Part, FetchError> {
    let text = headers
        .get(CONTENT_RANGE)
        .map(|v| String::from_utf8_lossy(v.as_bytes()));
    let text = text.as_deref().unwrap_or("no Content-Range");
    let wrong = || wrong_range(asked, text);
    let range = ContentRange::parse(text).ok_or_else(wrong)?;
    if let Some(served) = range.total.filter(|total| *total != asked.size) {
        return Err(wrong_size(asked, served));
    }
    let end = asked.end.unwrap_or(asked.size);
    let counted = length(headers).is_none_or(|n| range.last.checked_sub(range.first) == n.checked_sub(1));
    if range.first != asked.start || range.last < range.first || range.last >= end || !counted {
        return Err(wrong());
    }
    let entity = Entity::of(headers);
    // Some servers name the entity only in their first answer.
    let entity = entity.or_else(|| asked.entity.cloned());
    let ending = if length(headers).is_some() {
        Ending::Counted
    } else {
        Ending::Open
    };
    Ok(Part {
        start: range.first,
        entity,
        ending,
    })
}

fn unsatisfiable(headers: &HeaderMap, asked: &Asked) -> FetchError {
    let text = headers
        .get(CONTENT_RANGE)
        .map(|v| String::from_utf8_lossy(v.as_bytes()));
    let text = text.as_deref().unwrap_or("status 416");
    match text.strip_prefix("bytes */").and_then(number) {
        Some(served) if served != asked.size => wrong_size(asked, served),
        _ => wrong_range(asked, text),
    }
}

fn wrong_size(asked: &Asked, served: u64) -> FetchError {
    FetchError::WrongSize {
        url: asked.url.to_owned(),
        offered: asked.size,
        served,
    }
}

fn wrong_range(asked: &Asked, answer: &str) -> FetchError {
    FetchError::WrongRange {
        url: asked.url.to_owned(),
        start: asked.start,
        answer: answer.chars().take(100).collect(),
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    number(headers.get(CONTENT_LENGTH)?.to_str().ok()?)
}

/// `bytes first-last/total`, both ends included; `total` may be `*`.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    last: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total = if total == "*" { None } else { Some(number(total)?) };
        Some(Self {
            first: number(first)?,
            last: number(last)?,
            total,
        })
    }
}

/// Digits only: Rust's parser would take a sign as well.
fn number(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

/// `Content-Encoding` of the response that the last bytes came in: it may explain wrong bytes.
#[derive(Debug, Default)]
pub struct Encoding(Mutex<Option<String>>);

impl Encoding {
    /// Value of the header; `None` if the bytes came unencoded.
    #[must_use]
    pub fn get(&self) -> Option<String> {
        // A text: a panic elsewhere cannot have left it half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, encoding: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = encoding;
    }
}

#[derive(Debug)]
pub(super) struct DownloadBody {
    response: HttpResponse,
    ending: Ending,
    pace: StallDetector,
    position: u64,
}

/// End of a body.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection broke.
    Off(Interruption),
    /// The server said that the file ends here.
    End,
}

impl DownloadBody {
    pub(super) fn new(response: HttpResponse, part: &Part, settings: &FetchSettings) -> Self {
        Self {
            response,
            ending: part.ending,
            pace: StallDetector::new(settings),
            position: part.start,
        }
    }

    /// Offset in the file of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) async fn read(&mut self) -> Result<Bytes, Broken> {
        match self.pace.wait(self.response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                self.pace.arrived(bytes.len());
                self.position = self.position.saturating_add(bytes.len() as u64);
                Ok(bytes)
            }
            Ok(Ok(None)) if self.ending == Ending::WholeFile => Err(Broken::End),
            Ok(Ok(None)) => Err(Broken::Off(Interruption::Closed)),
            Ok(Err(error)) => Err(Broken::Off(Interruption::Connection(Box::new(error)))),
            Err(TooSlow) => Err(Broken::Off(self.pace.stalled())),
        }
    }

    /// Whether bytes follow after the expected last one. A body with an announced length has none;
    /// for others, the way in which the connection ends doesn't matter.
    pub(super) async fn goes_on(&mut self) -> bool {
        self.ending != Ending::Counted && self.read().await.is_ok()
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod entity_tests {
    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let map = headers
            .iter()
            .map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()))
            .collect();
        Entity::of(&map).map(|e| e.to_string())
    }

    #[test]
    fn a_strong_tag_wins_over_a_date_and_a_date_over_a_weak_tag() {
        let date = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(of(&[("etag", "\"a\""), date]).unwrap(), "\"a\"");
        assert_eq!(of(&[("etag", "W/\"a\""), date]).unwrap(), date.1);
        assert_eq!(of(&[("etag", "W/\"a\"")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_cannot_go_into_a_header_is_no_entity() {
        assert_eq!(Entity::parse("\"a\r\nb\""), None);
        assert_eq!(Entity::parse("\""), None);
        assert_eq!(Entity::parse(""), None);
        assert_eq!(
            Entity::parse(&format!("\"{}\"", "x".repeat(LONGEST_ENTITY))),
            None
        );
    }
}
