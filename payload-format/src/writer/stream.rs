//! A writer that knows what went through it.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

/// Counts and hashes what is written.
pub(super) struct Hashing<W> {
    inner: W,
    sha256: Sha256,
    written: u64,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            sha256: Sha256::new(),
            written: 0,
        }
    }

    /// Bytes so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// SHA-256 of everything so far.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.sha256.clone().finalize().into()
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
