//! A part of a patch that is there whole, unpacked as it is asked for.

use std::io::{self, BufRead, Read};

use brotli_decompressor::Decompressor;
use bzip2::bufread::BzDecoder;

use super::{Packing, PatchError, Stream, brotli};

/// Bytes of compressed data that a decoder copies at a time.
const INPUT: usize = 4 << 10;

pub(super) struct Decoder<B: BufRead> {
    inner: Inner<B>,
    stream: Stream,
}

enum Inner<B: BufRead> {
    Plain(B),
    Bzip2(BzDecoder<B>),
    Brotli(Box<Decompressor<B>>),
}

impl<B: BufRead> Read for Inner<B> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(bytes) => bytes.read(buf),
            Self::Bzip2(decoder) => decoder.read(buf),
            Self::Brotli(decoder) => decoder.read(buf),
        }
    }
}

impl<B: BufRead> Decoder<B> {
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
