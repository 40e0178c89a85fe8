//! Operations whose data comes in pieces of any size.

use super::codec::{Codec, Compression, DecoderProgress};
use super::patched::Patched;
use super::sink::Sink;
use super::{ApplyError, Fault};
use crate::op_id::OpId;

/// Bytes of decompressed data per write.
const BUFFER: usize = 1 << 20;

/// An operation that takes its data in pieces. What it wrote before it failed or was dropped stays
/// written.
pub struct Streamed {
    op: OpId,
    decoder: StreamDecoder,
}

pub(super) enum StreamDecoder {
    Plain(Sink),
    Packed(Box<Unpack>),
    Patch(Box<Patched>),
}

impl Streamed {
    pub(super) fn new(op: OpId, decoder: StreamDecoder) -> Self {
        Self { op, decoder }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`ApplyError::Operation`].
    pub fn write(&mut self, piece: &[u8]) -> Result<(), ApplyError> {
        let op = self.op;
        let result = match &mut self.decoder {
            StreamDecoder::Plain(sink) => sink.write(piece),
            StreamDecoder::Packed(unpack) => unpack.write(piece),
            StreamDecoder::Patch(patched) => patched.write(piece),
        };
        result.map_err(|fault| ApplyError::Operation { op, fault })
    }

    /// Ends the data.
    ///
    /// # Errors
    /// [`ApplyError::Operation`] if the result is cut off or leaves blocks unwritten.
    pub fn finish(self) -> Result<(), ApplyError> {
        let result = match self.decoder {
            StreamDecoder::Plain(sink) => sink.finish(),
            StreamDecoder::Packed(unpack) => unpack.finish(),
            StreamDecoder::Patch(patched) => patched.finish(),
        };
        result.map_err(|fault| ApplyError::Operation { op: self.op, fault })
    }
}

/// Decompresses one stream into a sink.
pub(super) struct Unpack {
    codec: Codec,
    ended: bool,
    buffer: Vec<u8>,
    sink: Sink,
}

impl Unpack {
    pub(super) fn new(compression: Compression, sink: Sink) -> Result<Self, Fault> {
        let codec = Codec::new(compression).map_err(|source| Fault::Damaged { compression, source })?;
        Ok(Self {
            codec,
            ended: false,
            buffer: Vec::with_capacity(BUFFER),
            sink,
        })
    }

    pub(super) fn write(&mut self, mut input: &[u8]) -> Result<(), Fault> {
        loop {
            if self.ended {
                return if input.is_empty() {
                    Ok(())
                } else {
                    let (compression, len) = (self.codec.compression(), input.len());
                    Err(Fault::TrailingBytes { compression, len })
                };
            }
            let taken = self.step(input)?;
            let stuck = taken == 0 && self.buffer.len() < self.buffer.capacity() && !self.ended;
            input = input.get(taken..).unwrap_or_default();
            if self.buffer.len() == self.buffer.capacity() {
                self.flush()?;
            }
            if stuck {
                return Ok(());
            }
        }
    }

    /// Fills the buffer's spare room; returns how much input that took.
    fn step(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let step = self.codec.step(input, &mut self.buffer);
        let DecoderProgress { taken, ended } = step.map_err(|source| Fault::Damaged {
            compression: self.codec.compression(),
            source,
        })?;
        self.ended = ended;
        Ok(taken)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.sink.write(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Fault> {
        if !self.ended {
            return Err(Fault::CutOff(self.codec.compression()));
        }
        self.flush()?;
        self.sink.finish()
    }
}
