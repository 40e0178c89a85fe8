//! Body of a download: a part of a file, sent with bounded memory and at a given pace.

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
