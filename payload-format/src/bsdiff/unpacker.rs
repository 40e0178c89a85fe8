//! A part of a patch that comes in pieces, unpacked as it comes.

use std::io;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bzip2::{Decompress, Status};

use super::{Packing, PatchError, Stream, brotli};

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// Unpacks one stream. What follows its end is ignored.
pub(crate) struct Unpacker {
    inner: UnpackerState,
    stream: Stream,
}

enum UnpackerState {
    Plain,
    Bzip2(Box<Decompress>),
    /// Nothing has come yet.
    FreshBrotli,
    Brotli(Box<Brotli>),
    Ended,
}

/// What one step took and gave, in bytes.
pub(crate) struct Unpacked {
    pub(crate) taken: usize,
    pub(crate) filled: usize,
}

impl Unpacker {
    pub(super) fn new(packing: Packing, stream: Stream) -> Self {
        let inner = match packing {
            Packing::Plain => UnpackerState::Plain,
            Packing::Bzip2 => UnpackerState::Bzip2(Box::new(Decompress::new(false))),
            Packing::Brotli => UnpackerState::FreshBrotli,
        };
        Self { inner, stream }
    }

    /// Unpacks from `input` to `output`. Once it neither takes nor gives anything it needs more
    /// input.
    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Unpacked, PatchError> {
        let stream = self.stream;
        if matches!(self.inner, UnpackerState::FreshBrotli) && !input.is_empty() {
            brotli::check(input, stream)?;
            let alloc = StandardAlloc::default;
            self.inner = UnpackerState::Brotli(Box::new(Brotli::new(alloc(), alloc(), alloc())));
        }
        let step = match &mut self.inner {
            UnpackerState::Plain => Ok(plain(input, output)),
            UnpackerState::Bzip2(decoder) => bzip2(decoder, input, output),
            UnpackerState::Brotli(decoder) => unbrotli(decoder, input, output),
            UnpackerState::FreshBrotli => Ok((0, 0, false)),
            UnpackerState::Ended => Ok((input.len(), 0, true)),
        };
        let (taken, filled, ended) = step.map_err(|source| PatchError::Damaged { stream, source })?;
        if ended {
            self.inner = UnpackerState::Ended;
        }
        Ok(Unpacked { taken, filled })
    }
}

/// Bytes taken and filled, and whether the stream has ended.
type Progress = io::Result<(usize, usize, bool)>;

fn plain(input: &[u8], output: &mut [u8]) -> (usize, usize, bool) {
    let len = input.len().min(output.len());
    output[..len].copy_from_slice(&input[..len]);
    (len, len, false)
}

fn bzip2(decoder: &mut Decompress, input: &[u8], output: &mut [u8]) -> Progress {
    let before = (decoder.total_in(), decoder.total_out());
    let status = decoder.decompress(input, output)?;
    let since = |total: u64, before, len: usize| {
        usize::try_from(total - before).map_or(len, |bytes: usize| bytes.min(len))
    };
    Ok((
        since(decoder.total_in(), before.0, input.len()),
        since(decoder.total_out(), before.1, output.len()),
        status == Status::StreamEnd,
    ))
}

fn unbrotli(decoder: &mut Brotli, input: &[u8], output: &mut [u8]) -> Progress {
    let (mut input_left, mut taken) = (input.len(), 0);
    let (mut output_left, mut filled) = (output.len(), 0);
    let result = BrotliDecompressStream(
        &mut input_left,
        &mut taken,
        input,
        &mut output_left,
        &mut filled,
        output,
        &mut 0,
        decoder,
    );
    match result {
        BrotliResult::ResultFailure => Err(io::Error::new(io::ErrorKind::InvalidData, "no brotli stream")),
        BrotliResult::ResultSuccess => Ok((taken, filled, true)),
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok((taken, filled, false)),
    }
}
