//! The download task: the pipeline's network side. It runs on the async runtime and never blocks
//! it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::messages::{Chunk, Message, Outlet, StreamEnd};
use crate::fetch::PayloadStream;
use crate::install::InstallError;

/// Moves the bytes of a stream to the coordinator, no more at once than the read-ahead allows.
pub(super) struct Feed<'a> {
    pub(super) stream: PayloadStream,
    pub(super) outlet: Outlet,
    /// Bytes that may wait for the coordinator.
    pub(super) read_ahead: u32,
    /// Bytes of the payload that were dealt with before this attempt.
    pub(super) resumed_at: u64,
    pub(super) progress: &'a mut (dyn FnMut(u64) + Send),
    pub(super) cancel: &'a CancellationToken,
}

/// The coordinator has ended, and says itself why.
struct Gone;

impl Feed<'_> {
    /// Runs until the stream ends, fails or is cancelled, or until the coordinator is gone.
    pub(super) async fn run(mut self) {
        let cancel = self.cancel;
        let end = tokio::select! {
            end = self.forward() => end,
            () = cancel.cancelled() => Ok(StreamEnd::Stopped(InstallError::Cancelled)),
        };
        if let Ok(end) = end {
            self.say(end);
        }
    }

    fn say(&self, end: StreamEnd) {
        // Nobody listens: then the coordinator has an end of its own.
        let _ = self.outlet.send(Message::StreamEnd(end));
    }

    async fn forward(&mut self) -> Result<StreamEnd, Gone> {
        let permits = Arc::new(Semaphore::new(self.read_ahead as usize));
        let mut at = self.stream.start();
        while let Some(next) = self.stream.next().await {
            let bytes = match next {
                Ok(bytes) => bytes,
                Err(e) => return Ok(StreamEnd::Stopped(InstallError::Fetch(e))),
            };
            let bytes = unseen(bytes, &mut at, self.resumed_at);
            if bytes.is_empty() {
                continue;
            }
            self.send(bytes, &permits).await?;
            (self.progress)(at);
        }
        Ok(StreamEnd::Complete)
    }

    async fn send(&mut self, bytes: Bytes, permits: &Arc<Semaphore>) -> Result<(), Gone> {
        let weight = u32::try_from(bytes.len())
            .unwrap_or(u32::MAX)
            .min(self.read_ahead);
        let permit = Arc::clone(permits)
            .acquire_many_owned(weight)
            .await
            .map_err(|_| Gone)?;
        let chunk = Chunk {
            bytes,
            _permit: permit,
        };
        self.outlet.send(Message::Chunk(chunk)).map_err(|_| Gone)
    }
}

impl Drop for Feed<'_> {
    /// However the feed goes, the coordinator must not wait for it. Only the first end counts.
    fn drop(&mut self) {
        self.say(StreamEnd::Stopped(InstallError::Cancelled));
    }
}

/// The part of `bytes`, which begin at `at`, from `wanted` on. A server may start over at 0 (no
/// ranges, or another entity); what was dealt with before is left out then. That is safe with any
/// content: hash and signature are over the bytes that went into the slot, and are checked at the
/// end.
fn unseen(mut bytes: Bytes, at: &mut u64, wanted: u64) -> Bytes {
    let skip = wanted.saturating_sub(*at);
    *at += bytes.len() as u64;
    match usize::try_from(skip) {
        Ok(skip) if skip <= bytes.len() => bytes.split_off(skip),
        _ => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dealt_with_before_a_restart_is_left_out() {
        let mut at = 0;
        let seen: Vec<Bytes> = [&b"abc"[..], b"def", b"ghi"]
            .into_iter()
            .map(|piece| unseen(Bytes::from_static(piece), &mut at, 4))
            .collect();
        assert_eq!(seen, [&b""[..], b"ef", b"ghi"]);
        assert_eq!(at, 9);
    }

    #[test]
    fn a_stream_that_begins_where_it_should_is_passed_on_whole() {
        let mut at = 4;
        assert_eq!(unseen(Bytes::from_static(b"ef"), &mut at, 4), &b"ef"[..]);
        assert_eq!(at, 6);
    }
}
