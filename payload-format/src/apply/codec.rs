//! Decompressors that take their input in pieces, and no more memory than they are given.
//!
//! Compressed data says itself how much of what it unpacked it will refer back to. An encoder's
//! defaults ask for a few megabytes; an attacker asks for gigabytes, before any signature of the
//! data was checked. So whoever asks for more than [`WINDOW`] is refused. Larger windows gain
//! nothing on operations of a megabyte.

use std::fmt;
use std::io;

use bzip2::Decompress;
use liblzma::stream::{Action, Stream};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::pieces::clamp;

/// Bytes of earlier output that xz and zstd may refer back to, at most: what RFC 8878 asks of every
/// decoder, and the dictionary of `xz -6`. bzip2 has no way to ask for more than 4 MiB.
const WINDOW_LOG: u32 = 23;
const WINDOW: u64 = 1 << WINDOW_LOG;

/// What an xz decoder needs beside its dictionary.
const XZ_STATE: u64 = 256 << 10;

/// How an operation's data is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// One bzip2 stream.
    Bzip2,
    /// One xz stream.
    Xz,
    /// One zstd frame.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// A decompressor at work on one stream.
pub(super) enum Codec {
    Bzip2(Box<Decompress>),
    Xz(Box<Stream>),
    Zstd(Box<Decoder<'static>>),
}

/// What one step of a decompressor did.
pub(super) struct DecoderProgress {
    /// Bytes of input that are used up.
    pub(super) taken: usize,
    /// The stream is complete.
    pub(super) ended: bool,
}

impl Codec {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Bzip2 => Self::Bzip2(Box::new(Decompress::new(false))),
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(WINDOW + XZ_STATE, 0)?;
                Self::Xz(Box::new(stream))
            }
            Compression::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    pub(super) const fn compression(&self) -> Compression {
        match self {
            Self::Bzip2(_) => Compression::Bzip2,
            Self::Xz(_) => Compression::Xz,
            Self::Zstd(_) => Compression::Zstd,
        }
    }

    /// Unpacks into the spare capacity of `output`, as much as fits.
    pub(super) fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> io::Result<DecoderProgress> {
        match self {
            Self::Bzip2(stream) => {
                let before = stream.total_in();
                let status = stream.decompress_vec(input, output)?;
                Ok(DecoderProgress {
                    taken: clamp(stream.total_in() - before, input.len()),
                    ended: status == bzip2::Status::StreamEnd,
                })
            }
            Self::Xz(stream) => {
                let before = stream.total_in();
                let status = stream.process_vec(input, output, Action::Run)?;
                Ok(DecoderProgress {
                    taken: clamp(stream.total_in() - before, input.len()),
                    ended: status == liblzma::stream::Status::StreamEnd,
                })
            }
            Self::Zstd(decoder) => {
                let at = output.len();
                let mut from = InBuffer::around(input);
                let left = decoder.run(&mut from, &mut OutBuffer::around_pos(output, at))?;
                Ok(DecoderProgress {
                    taken: from.pos(),
                    ended: left == 0,
                })
            }
        }
    }
}
