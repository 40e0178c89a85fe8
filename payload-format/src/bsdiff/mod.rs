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

use std::io::Read;

use bzip2::bufread::BzDecoder;
use thiserror::Error;

/// Bytes added or inserted at a time.
const BUFFER: usize = 64 << 10;

/// Triples beyond one per byte of the result that are followed: each useful one yields a byte.
const IDLE_TRIPLES: u64 = 1024;

/// Why a patch is refused.
#[derive(Debug, Error)]
pub enum PatchError {
    /// The first eight bytes are not `BSDIFF40`, or the header is cut off.
    #[error("it has no BSDIFF40 header")]
    Header,
    /// Negative, or past the patch's end.
    #[error("its {stream} stream has an impossible length")]
    StreamLength {
        /// Which.
        stream: Stream,
    },
    /// Negative length of the result.
    #[error("the length of its result is negative")]
    NegativeResult,
    /// The header's length is not the operation's.
    #[error("its result has {found} bytes instead of {expected}")]
    ResultLength {
        /// In bytes.
        found: u64,
        /// In bytes.
        expected: u64,
    },
    /// A stream is damaged or ends early.
    #[error("its {stream} stream is damaged or ends early")]
    Damaged {
        /// Which.
        stream: Stream,
        /// What the decoder says.
        #[source]
        source: std::io::Error,
    },
    /// A negative count.
    #[error("it has a negative count at byte {at} of the result")]
    NegativeCount {
        /// From the result's start.
        at: u64,
    },
    /// Counts beyond the result's length.
    #[error("it yields more than the {len} bytes of its result")]
    TooLong {
        /// In bytes.
        len: u64,
    },
    /// The old position leaves 64 bits.
    #[error("it seeks beyond all bounds at byte {at} of the result")]
    Seek {
        /// From the result's start.
        at: u64,
    },
    /// Endless steps that yield nothing.
    #[error("it has too many steps that yield nothing")]
    Idle,
}

/// The three parts of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The triples.
    Control,
    /// Bytes to add.
    Diff,
    /// Bytes to insert.
    Extra,
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Control => "control",
            Self::Diff => "diff",
            Self::Extra => "extra",
        })
    }
}

/// A patch whose header holds.
#[derive(Debug)]
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
        let old = Old {
            len: old_len,
            read: old,
            position: 0,
        };
        let mut patching = Patching {
            control: Decoder::new(self.control, Stream::Control),
            diff: Decoder::new(self.diff, Stream::Diff),
            extra: Decoder::new(self.extra, Stream::Extra),
            old,
            write,
            done: 0,
            len: self.result_len,
            buffer: vec![0; BUFFER],
            old_buffer: vec![0; BUFFER],
        };
        patching.run()
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

/// The old file and the position in it.
struct Old<R> {
    len: u64,
    read: R,
    position: i64,
}

impl<R> Old<R> {
    /// Fills `buf` from the position and moves it.
    fn read<E>(&mut self, buf: &mut [u8], at: u64) -> Result<(), E>
    where
        R: Fn(&mut [u8], u64) -> Result<(), E>,
        E: From<PatchError>,
    {
        let before =
            usize::try_from(self.position.min(0).unsigned_abs()).map_or(buf.len(), |n| n.min(buf.len()));
        let (negative, rest) = buf.split_at_mut(before);
        negative.fill(0);
        let offset = self.position.max(0).unsigned_abs();
        let inside =
            usize::try_from(self.len.saturating_sub(offset)).map_or(rest.len(), |n| n.min(rest.len()));
        let (inside, beyond) = rest.split_at_mut(inside);
        beyond.fill(0);
        if !inside.is_empty() {
            (self.read)(inside, offset)?;
        }
        let len = i64::try_from(buf.len()).map_err(|_| PatchError::Seek { at })?;
        self.seek(len, at)?;
        Ok(())
    }

    fn seek(&mut self, by: i64, at: u64) -> Result<(), PatchError> {
        self.position = self.position.checked_add(by).ok_or(PatchError::Seek { at })?;
        Ok(())
    }
}

struct Decoder<'a> {
    inner: BzDecoder<&'a [u8]>,
    stream: Stream,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8], stream: Stream) -> Self {
        Self {
            inner: BzDecoder::new(bytes),
            stream,
        }
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<(), PatchError> {
        let stream = self.stream;
        self.inner
            .read_exact(buf)
            .map_err(|source| PatchError::Damaged { stream, source })
    }
}

/// A patch at work.
struct Patching<'a, R, W> {
    control: Decoder<'a>,
    diff: Decoder<'a>,
    extra: Decoder<'a>,
    old: Old<R>,
    write: W,
    done: u64,
    len: u64,
    buffer: Vec<u8>,
    old_buffer: Vec<u8>,
}

impl<R, W> Patching<'_, R, W> {
    fn run<E>(&mut self) -> Result<(), E>
    where
        R: Fn(&mut [u8], u64) -> Result<(), E>,
        W: FnMut(&[u8]) -> Result<(), E>,
        E: From<PatchError>,
    {
        let mut idle = 0;
        while self.done < self.len {
            let mut triple = [0; 24];
            self.control.fill(&mut triple)?;
            let [add, insert, seek] = numbers(&triple);
            let before = self.done;
            self.add(self.count(add)?)?;
            self.insert(self.count(insert)?)?;
            self.old.seek(seek, self.done)?;
            idle += u64::from(before == self.done);
            if idle > IDLE_TRIPLES {
                return Err(PatchError::Idle.into());
            }
        }
        Ok(())
    }

    /// A count that fits what is left of the result.
    fn count(&self, count: i64) -> Result<u64, PatchError> {
        let count = u64::try_from(count).map_err(|_| PatchError::NegativeCount { at: self.done })?;
        (count <= self.len - self.done)
            .then_some(count)
            .ok_or(PatchError::TooLong { len: self.len })
    }

    fn add<E>(&mut self, mut count: u64) -> Result<(), E>
    where
        R: Fn(&mut [u8], u64) -> Result<(), E>,
        W: FnMut(&[u8]) -> Result<(), E>,
        E: From<PatchError>,
    {
        while count > 0 {
            let now = step(count);
            let (result, old) = (&mut self.buffer[..now], &mut self.old_buffer[..now]);
            self.diff.fill(result)?;
            self.old.read(old, self.done)?;
            result
                .iter_mut()
                .zip(old)
                .for_each(|(byte, old)| *byte = byte.wrapping_add(*old));
            (self.write)(result)?;
            self.done += now as u64;
            count -= now as u64;
        }
        Ok(())
    }

    fn insert<E>(&mut self, mut count: u64) -> Result<(), E>
    where
        W: FnMut(&[u8]) -> Result<(), E>,
        E: From<PatchError>,
    {
        while count > 0 {
            let now = step(count);
            let result = &mut self.buffer[..now];
            self.extra.fill(result)?;
            (self.write)(result)?;
            self.done += now as u64;
            count -= now as u64;
        }
        Ok(())
    }
}

fn step(count: u64) -> usize {
    usize::try_from(count).map_or(BUFFER, |count| count.min(BUFFER))
}

#[cfg(test)]
mod tests;
