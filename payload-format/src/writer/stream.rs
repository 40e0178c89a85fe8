//! A writer that knows what went through it.

use std::io::{self, Write};

use crate::digest::{RunningHash, Sha256Digest};

/// Counts and hashes what is written.
pub(super) struct Hashing<W> {
    inner: W,
    sha256: RunningHash,
    written: u64,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            sha256: RunningHash::default(),
            written: 0,
        }
    }

    /// Bytes so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// SHA-256 of everything so far.
    pub(super) fn digest(&self) -> Sha256Digest {
        self.sha256.value()
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sha256.update(&bytes[..n]);
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
