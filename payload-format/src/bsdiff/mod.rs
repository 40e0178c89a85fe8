//! BSDIFF40 patches.
//!
//! ```text
//!  0        8             16           24          32
//!  ┌────────┬─────────────┬────────────┬───────────┬───────────────┬────────────┬────────────┐
//!  │BSDIFF40│ control len │  diff len  │ new length│ control, bz2  │ diff, bz2  │ extra, bz2 │
//!  └────────┴─────────────┴────────────┴───────────┴───────────────┴────────────┴────────────┘
//!  control: triples (add, insert, seek), each 8 bytes, little-endian, sign in the top bit
//!   add:    so many bytes of diff, each plus the byte of the old file at the old position → result
//!   insert: so many bytes of extra → result
//!   seek:   moves the old position, which `add` moved as well
//! ```
//!
//! The old position may stray outside the old file; bytes there count as zero, as the original tool has it.
//! The result comes out front to back, so neither file is held in memory.

mod error;
mod patching;

pub use error::{PatchError, Stream};

use patching::Patching;

/// A patch whose header holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patch<'a> {
    control: &'a [u8],
    diff: &'a [u8],
    extra: &'a [u8],
    result_len: u64,
}

impl<'a> Patch<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, PatchError> {
        let rest = bytes.strip_prefix(b"BSDIFF40").ok_or(PatchError::Header)?;
        let (header, rest) = rest.split_first_chunk::<24>().ok_or(PatchError::Header)?;
        let [control_len, diff_len, result_len] = numbers(header);
        let (control, rest) = split(rest, control_len, Stream::Control)?;
        let (diff, extra) = split(rest, diff_len, Stream::Diff)?;
        let result_len = u64::try_from(result_len).map_err(|_| PatchError::NegativeResult)?;
        Ok(Self {
            control,
            diff,
            extra,
            result_len,
        })
    }

    /// Length of the result in bytes.
    pub(crate) fn result_len(&self) -> u64 {
        self.result_len
    }

    /// Makes the result from an old file of `old_len` bytes, of which `old` reads any part.
    pub(crate) fn apply<E: From<PatchError>>(
        &self,
        old_len: u64,
        old: impl Fn(&mut [u8], u64) -> Result<(), E>,
        write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        Patching::new(self, old_len, old, write).run()
    }
}

fn split(bytes: &[u8], len: i64, stream: Stream) -> Result<(&[u8], &[u8]), PatchError> {
    let len = usize::try_from(len).ok();
    len.and_then(|len| bytes.split_at_checked(len))
        .ok_or(PatchError::StreamLength { stream })
}

/// Three numbers: magnitude in 63 bits, sign on top.
fn numbers(bytes: &[u8; 24]) -> [i64; 3] {
    let (chunks, _) = bytes.as_chunks::<8>();
    let number = |at: usize| {
        let raw = u64::from_le_bytes(chunks[at]);
        let magnitude = (raw & !(1 << 63)).cast_signed();
        if raw >> 63 == 1 { -magnitude } else { magnitude }
    };
    [number(0), number(1), number(2)]
}

#[cfg(test)]
mod tests;
