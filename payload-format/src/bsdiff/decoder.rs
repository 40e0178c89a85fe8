//! A part of a patch that is there whole, unpacked as it is asked for.
//!
//! bzip2 can only unpack whole blocks, and twenty bytes may stand for one of 900,000. Of a part
//! that is lent, blocks that are longer than what is wanted of them are refused before they are
//! unpacked: tiny results cost little. A part that is kept belongs to a patch of megabytes, whose
//! length bounds what it costs.

use std::io::{self, BufRead, Read};

use brotli_decompressor::Decompressor;
use bzip2::bufread::BzDecoder;

use super::{Packing, PatchError, Stream, brotli, budget};
use crate::bunzip::{Bunzip, BunzipError};

/// Bytes of compressed data that a decoder copies at a time.
const INPUT: usize = 4 << 10;

pub(super) struct Decoder<'a, B: BufRead> {
    inner: Inner<'a, B>,
    stream: Stream,
}

enum Inner<'a, B: BufRead> {
    Plain(B),
    Bzip2(BzDecoder<B>),
    LentBzip2(Box<Lent<'a>>),
    Brotli(Box<Decompressor<B>>),
}

impl<B: BufRead> Read for Inner<'_, B> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(bytes) => bytes.read(buf),
            Self::Bzip2(decoder) => decoder.read(buf),
            Self::LentBzip2(decoder) => decoder.read(buf),
            Self::Brotli(decoder) => decoder.read(buf),
        }
    }
}

/// A bzip2 stream in blocks of bounded length.
struct Lent<'a> {
    data: &'a [u8],
    longest_block: usize,
    /// Nothing was asked for yet where there is none: a stream that nobody wants anything of may be
    /// missing.
    stream: Option<Bunzip<'a>>,
    /// What was unpacked, and how much of it was given away.
    unpacked: Vec<u8>,
    given: usize,
}

impl Lent<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.given == self.unpacked.len() {
            self.unpacked.clear();
            self.given = 0;
            let stream = match &mut self.stream {
                Some(stream) => stream,
                none => none.insert(Bunzip::of_blocks(self.data, self.longest_block).map_err(damaged)?),
            };
            if !stream.read(&mut self.unpacked).map_err(damaged)? {
                return Ok(0);
            }
        }
        let left = &self.unpacked[self.given..];
        let len = left.len().min(buf.len());
        buf[..len].copy_from_slice(&left[..len]);
        self.given += len;
        Ok(len)
    }
}

fn damaged(error: BunzipError) -> io::Error {
    let kind = match error {
        BunzipError::CutOff => io::ErrorKind::UnexpectedEof,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}

impl<'a> Decoder<'a, &'a [u8]> {
    /// Of a part that is lent, of which `wanted` bytes will be asked for at most.
    pub(super) fn lent(
        data: &'a [u8],
        packing: Packing,
        stream: Stream,
        wanted: u64,
    ) -> Result<Self, PatchError> {
        if packing != Packing::Bzip2 {
            return Self::new(data, packing, stream);
        }
        let inner = Inner::LentBzip2(Box::new(Lent {
            data,
            longest_block: budget::block(wanted),
            stream: None,
            unpacked: Vec::new(),
            given: 0,
        }));
        Ok(Self { inner, stream })
    }
}

impl<B: BufRead> Decoder<'_, B> {
    pub(super) fn new(mut bytes: B, packing: Packing, stream: Stream) -> Result<Self, PatchError> {
        let inner = match packing {
            Packing::Plain => Inner::Plain(bytes),
            Packing::Bzip2 => Inner::Bzip2(BzDecoder::new(bytes)),
            Packing::Brotli => {
                let first = bytes
                    .fill_buf()
                    .map_err(|source| PatchError::Damaged { stream, source })?;
                brotli::check(first, stream)?;
                Inner::Brotli(Box::new(Decompressor::new(bytes, INPUT)))
            }
        };
        Ok(Self { inner, stream })
    }

    pub(super) fn fill(&mut self, buf: &mut [u8]) -> Result<(), PatchError> {
        let stream = self.stream;
        self.inner
            .read_exact(buf)
            .map_err(|source| PatchError::Damaged { stream, source })
    }
}
