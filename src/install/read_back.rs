//! A slot's hash, read from the medium.

use std::io;
use std::sync::Arc;

use payload_format::Sha256Digest;
use ring::digest;
use tokio_util::sync::CancellationToken;

use crate::disk::BlockTarget;

/// Read at once.
const STEP: usize = 1 << 20;

/// The hash of a slot's beginning, as far as it was read. What was read once is not read again:
/// nobody may write it any more.
pub(super) struct ReadBack {
    slot: Arc<dyn BlockTarget>,
    /// Bytes that are hashed in the end.
    size: u64,
    offset: u64,
    hash: digest::Context,
    buffer: Vec<u8>,
}

impl ReadBack {
    /// Of the first `size` bytes of `slot`; nothing is read yet.
    pub(super) fn new(slot: Arc<dyn BlockTarget>, size: u64) -> Self {
        Self {
            slot,
            size,
            offset: 0,
            hash: digest::Context::new(&digest::SHA256),
            buffer: Vec::new(),
        }
    }

    /// Reads on up to `end`; false if cancelled. All before `end` is synced and was dropped from
    /// the page cache, so that it comes from the medium.
    ///
    /// # Errors
    /// Reading fails. What was read before counts, and reading may be tried again.
    pub(super) fn advance(&mut self, end: u64, cancel: &CancellationToken) -> io::Result<bool> {
        let end = end.min(self.size);
        self.buffer.resize(STEP, 0);
        while self.offset < end {
            if cancel.is_cancelled() {
                return Ok(false);
            }
            let left = usize::try_from(end - self.offset).unwrap_or(STEP).min(STEP);
            let piece = &mut self.buffer[..left];
            self.slot.read_at(piece, self.offset)?;
            self.hash.update(piece);
            self.offset += left as u64;
            // From the slot's start: the cache holds large pieces that straddle ours, and keeps
            // those that a range only touches.
            self.slot.forget(0, self.offset);
        }
        Ok(true)
    }

    /// The hash of what was read so far.
    pub(super) fn so_far(&self) -> Sha256Digest {
        digest_of(self.hash.clone())
    }

    /// The hash, once the rest was synced and read as well; none if cancelled.
    ///
    /// # Errors
    /// Syncing or reading fails.
    pub(super) fn finish(mut self, cancel: &CancellationToken) -> io::Result<Option<Sha256Digest>> {
        self.slot.sync()?;
        self.slot.forget(0, self.slot.len());
        let complete = self.advance(self.size, cancel);
        // What was read ahead lies past the last piece.
        self.slot.forget(0, self.slot.len());
        Ok(complete?.then(|| digest_of(self.hash)))
    }
}

/// The value of a finished hash.
pub(super) fn digest_of(hash: digest::Context) -> Sha256Digest {
    let mut bytes = [0; Sha256Digest::LEN];
    bytes.copy_from_slice(hash.finish().as_ref());
    Sha256Digest::from(bytes)
}
