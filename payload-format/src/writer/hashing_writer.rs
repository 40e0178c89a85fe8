//! A writer that hashes and counts what goes through it.

use std::io::{self, Write};

use crate::digest::{RunningHash, Sha256Digest};

/// Counts and hashes what is written.
pub(super) struct HashingWriter<W> {
    inner: W,
    sha256: RunningHash,
    /// Of what was not written apart, from the first such piece on.
    signed: Option<RunningHash>,
    written: u64,
}

impl<W: Write> HashingWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            sha256: RunningHash::default(),
            signed: None,
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

    /// SHA-256 of everything so far but what was written apart.
    pub(super) fn signed_digest(&self) -> Sha256Digest {
        self.signed.as_ref().unwrap_or(&self.sha256).value()
    }

    /// Writes what the payload's signatures don't sign.
    pub(super) fn write_apart(&mut self, bytes: &[u8]) -> io::Result<()> {
        let signed = self.signed.take().unwrap_or_else(|| self.sha256.clone());
        let result = self.write_all(bytes);
        self.signed = Some(signed);
        result
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sha256.update(&bytes[..n]);
        if let Some(signed) = &mut self.signed {
            signed.update(&bytes[..n]);
        }
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
