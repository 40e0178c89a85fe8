//! BSDIFF40 and BSDF2 patches.
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
//! BSDF2 begins with `BSDF2` and three bytes that name the compression of control, diff and extra:
//! 0 none, 1 bzip2, 2 brotli. All else is the same.
//!
//! The old position may stray outside the old file; bytes there count as zero, as the original tool
//! has it. Neither file is held in memory. A patch that is, makes the result front to back
//! ([`Patch`]). Of one that isn't, the control stream is ([`HeldSteps`]): it tells where the bytes
//! of the other two go, one after the other ([`Unpacker`]).

mod brotli;
mod budget;
mod decoder;
mod error;
mod head;
mod making;
mod old;
mod patching;
mod similar;
mod steps;
mod suffixes;
mod unpacker;

pub(crate) use budget::StepBudget;
pub use error::{PatchError, Stream};
pub(crate) use head::PatchHeader;
pub(crate) use making::Parts;
pub(crate) use old::{Old, add};
pub(crate) use similar::{Similar, similar};
pub(crate) use steps::HeldSteps;
pub(crate) use suffixes::Suffixes;
pub(crate) use unpacker::Unpacker;

use patching::Patching;

/// Formats of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Bsdiff40,
    Bsdf2,
}

/// How a part of a patch is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Bzip2,
    Brotli,
}

/// A patch whose header holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patch<'a> {
    head: PatchHeader,
    control: &'a [u8],
    diff: &'a [u8],
    extra: &'a [u8],
    budget: Option<&'a StepBudget>,
}

impl<'a> Patch<'a> {
    pub(crate) fn parse(container: Container, bytes: &'a [u8]) -> Result<Self, PatchError> {
        let head = PatchHeader::parse(container, bytes)?;
        let rest = bytes.get(PatchHeader::LEN..).unwrap_or_default();
        let (control, rest) = split(rest, head.control_len, Stream::Control)?;
        let (diff, extra) = split(rest, head.diff_len, Stream::Diff)?;
        Ok(Self {
            head,
            control,
            diff,
            extra,
            budget: None,
        })
    }

    /// The same, whose steps are taken from `budget`.
    pub(crate) const fn within(self, budget: &'a StepBudget) -> Self {
        Self {
            budget: Some(budget),
            ..self
        }
    }

    /// What it says of itself.
    pub(crate) const fn head(&self) -> &PatchHeader {
        &self.head
    }

    /// Makes the result from an old file of `old_len` bytes, of which `old` reads any part.
    pub(crate) fn apply<E: From<PatchError>>(
        &self,
        old_len: u64,
        old: impl Fn(&mut [u8], u64) -> Result<(), E>,
        write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        Patching::new(self, old_len, old, write)?.run()
    }
}

impl Container {
    const fn name(self) -> &'static str {
        match self {
            Self::Bsdiff40 => "BSDIFF40",
            Self::Bsdf2 => "BSDF2",
        }
    }

    /// How the three parts are compressed, and what follows the magic.
    fn packings(self, bytes: &[u8]) -> Result<([Packing; 3], &[u8]), PatchError> {
        let header = PatchError::Header(self.name());
        match self {
            Self::Bsdiff40 => {
                let rest = bytes.strip_prefix(b"BSDIFF40").ok_or(header)?;
                Ok(([Packing::Bzip2; 3], rest))
            }
            Self::Bsdf2 => {
                let rest = bytes.strip_prefix(b"BSDF2");
                let ([control, diff, extra], rest) =
                    rest.and_then(<[u8]>::split_first_chunk).ok_or(header)?;
                let packings = [
                    Packing::of(*control, Stream::Control)?,
                    Packing::of(*diff, Stream::Diff)?,
                    Packing::of(*extra, Stream::Extra)?,
                ];
                Ok((packings, rest))
            }
        }
    }
}

impl Packing {
    const fn of(number: u8, stream: Stream) -> Result<Self, PatchError> {
        Ok(match number {
            0 => Self::Plain,
            1 => Self::Bzip2,
            2 => Self::Brotli,
            _ => return Err(PatchError::Packing { stream, number }),
        })
    }
}

fn split(bytes: &[u8], len: u64, stream: Stream) -> Result<(&[u8], &[u8]), PatchError> {
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
