//! Check of the head of a response, before any byte of its body (RFC 9110 §14, §15).

use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, TRANSFER_ENCODING};

use super::{Entity, FetchError};

/// The request that a response is checked against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The URL without user, password and query.
    pub(super) url: &'a str,
    /// Offset of the first byte wanted.
    pub(super) start: u64,
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
    let counted = length(headers).is_none_or(|n| range.last.checked_sub(range.first) == n.checked_sub(1));
    if range.first != asked.start || range.last < range.first || range.last >= asked.size || !counted {
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

#[cfg(test)]
mod tests;
