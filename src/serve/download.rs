//! Downloads: the part of a file that is asked for (RFC 9110, sections 13.1.5 and 14), and its body,
//! sent with bounded memory and at a given pace.

use std::io::{self, SeekFrom};
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::Instant;

/// The part of a file to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePart {
    /// All of it (200).
    Whole,
    /// `len` bytes from `first` (206).
    Range {
        /// Offset of the first byte.
        first: u64,
        /// Bytes to send, above 0.
        len: u64,
    },
    /// The range lies past the end (416).
    Unsatisfiable,
}

impl FilePart {
    /// What `range` and `if_range`, the values of these headers, ask of a file of `len` bytes
    /// tagged `etag`. A range that isn't understood, has several parts, or is for another entity,
    /// asks for the whole file, as the RFC wants.
    #[must_use]
    pub fn requested(range: Option<&str>, if_range: Option<&str>, etag: &str, len: u64) -> Self {
        match range.and_then(|range| range.strip_prefix("bytes=")) {
            Some(spec) if if_range.is_none_or(|wanted| wanted == etag) => {
                parse(spec.trim(), len).unwrap_or(Self::Whole)
            }
            _ => Self::Whole,
        }
    }
}

fn parse(spec: &str, len: u64) -> Option<FilePart> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = digits(last)?.min(len);
        return Some(part(len - suffix, len, len));
    }
    let first = digits(first)?;
    if last.is_empty() {
        return Some(part(first, len, len));
    }
    let end = digits(last)?.saturating_add(1);
    (end > first).then(|| part(first, end, len))
}

/// Decimal digits only: `u64::from_str` would also take a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn part(first: u64, end: u64, len: u64) -> FilePart {
    match end.min(len).checked_sub(first) {
        None | Some(0) => FilePart::Unsatisfiable,
        Some(len) => FilePart::Range { first, len },
    }
}

/// Body of a response.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes read at once.
const CHUNK: u64 = 64 << 10;

/// Paced downloads go in shorter steps, about this many in a second.
const STEPS_PER_SECOND: u64 = 20;

struct Sending {
    file: File,
    left: u64,
    sent: u64,
    pace: Option<NonZeroU64>,
    start: Instant,
}

/// The body that sends `len` bytes of the file at `path` from `first`. `file_len` is the length
/// that was offered: a file that has another one by now isn't what nodes were promised.
///
/// # Errors
/// If the file can't be opened or its length changed. A file that shrinks later breaks the
/// connection off.
pub(super) async fn body(
    path: &Path,
    file_len: u64,
    first: u64,
    len: u64,
    pace: Option<NonZeroU64>,
) -> io::Result<AnswerBody> {
    let mut file = File::open(path).await?;
    let now = file.metadata().await?.len();
    if now != file_len {
        return Err(io::Error::other(format!(
            "the file has {now} bytes, {file_len} were offered"
        )));
    }
    file.seek(SeekFrom::Start(first)).await?;
    let sending = Sending {
        file,
        left: len,
        sent: 0,
        pace,
        start: Instant::now(),
    };
    let frames = stream::try_unfold(sending, async |mut sending| {
        let chunk = sending.next().await?;
        Ok(chunk.map(|bytes| (Frame::data(bytes), sending)))
    });
    Ok(StreamBody::new(frames).boxed_unsync())
}

impl Sending {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let step = self
            .pace
            .map_or(CHUNK, |pace| (pace.get() / STEPS_PER_SECOND).clamp(1, CHUNK));
        let want = step.min(self.left);
        let mut bytes = vec![0; usize::try_from(want).map_err(io::Error::other)?];
        self.file.read_exact(&mut bytes).await?;
        self.left -= want;
        self.sent += want;
        if let Some(pace) = self.pace {
            // 128 bits: the product of two 64-bit numbers fits.
            let due = u128::from(self.sent) * 1_000_000_000 / u128::from(pace.get());
            let due = Duration::from_nanos(u64::try_from(due).unwrap_or(u64::MAX));
            tokio::time::sleep_until(self.start + due).await;
        }
        Ok(Some(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::FilePart::{self, Range, Unsatisfiable, Whole};

    const TAG: &str = "\"abc\"";

    #[test]
    fn a_range_is_what_the_rfc_says() {
        let cases = [
            ("bytes=0-", Range { first: 0, len: 100 }),
            ("bytes=10-19", Range { first: 10, len: 10 }),
            ("bytes=10-1000", Range { first: 10, len: 90 }),
            ("bytes=99-18446744073709551615", Range { first: 99, len: 1 }),
            ("bytes=-30", Range { first: 70, len: 30 }),
            ("bytes=-300", Range { first: 0, len: 100 }),
            ("bytes=100-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=20-10", Whole),
            ("bytes=0-1,5-6", Whole),
            ("bytes=+1-5", Whole),
            ("bytes=-", Whole),
            ("bytes=99999999999999999999-", Whole),
            ("lines=1-2", Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(
                FilePart::requested(Some(range), None, TAG, 100),
                expected,
                "{range}"
            );
        }
    }

    #[test]
    fn a_range_of_another_entity_asks_for_all_of_this_one() {
        assert_eq!(
            FilePart::requested(Some("bytes=5-"), Some("\"old\""), TAG, 10),
            Whole
        );
        assert_eq!(
            FilePart::requested(Some("bytes=5-"), Some(TAG), TAG, 10),
            Range { first: 5, len: 5 }
        );
        assert_eq!(
            FilePart::requested(Some("bytes=5-"), Some("W/\"abc\""), TAG, 10),
            Whole
        );
    }
}
