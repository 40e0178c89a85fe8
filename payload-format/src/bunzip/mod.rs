//! The bzip2 decoder, for data that lies in memory whole.
//!
//! ```text
//!  bits ─▶ Huffman symbols ─▶ move to front, runs ─▶ last column, linked ─▶ segments of the text ─▶ runs ─▶ bytes, CRC
//!          symbols            block, mtf             inverse_bwt            inverse_bwt             runs
//! ```
//!
//! bzip2 takes most of an installation's time, and libbz2 follows its input bit by bit so that it
//! can stop anywhere. Whoever has all of the input looks up whole codes, keeps the front of the
//! list in a register, follows many segments of a block at the same time, looks for runs in eight
//! bytes at once, and checks sixteen. Measured on an image of 256 MiB of programs, one core, in
//! processor time: 0.51 to 0.60 of `lbzip2 -n1 -dc`, where one step after the other took 0.93 to
//! 1.46, depending on who else used the caches.
//!
//! Memory: 4 bytes for each of the block's up to 900,000, and up to 2 for its text, whatever the
//! data says.

mod bits;
mod block;
mod crc;
mod inverse_bwt;
mod mtf;
mod runs;
mod symbols;
#[cfg(test)]
mod tests;

use thiserror::Error;

use bits::Bits;
use block::Block;
pub(crate) use crc::{BlockCrc, Crc};
use inverse_bwt::Segments;
use runs::Text;

/// Begins a block: the digits of pi.
pub(crate) const BLOCK: u64 = 0x3141_5926_5359;

/// Ends a stream: those of its square root.
pub(crate) const END: u64 = 0x1772_4538_5090;

/// Why data is no bzip2 stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BunzipError {
    /// It begins otherwise.
    #[error("it does not begin with BZh and a digit above 0")]
    Header,
    /// Neither a block nor the end comes where one should.
    #[error("{0:012x} begins neither a block nor the end")]
    Magic(u64),
    /// A way to write blocks that was given up before version 1: libbz2 still reads it, this
    /// doesn't.
    #[error("a block is randomised, as bzip2 0.9 wrote them")]
    Randomised,
    /// A block's description contradicts itself.
    #[error("a block's {0} are impossible")]
    Description(&'static str),
    /// A block says that it is longer than it may be, or its beginning lies outside.
    #[error("a block has {len} bytes and begins at byte {start}; {limit} is the limit")]
    Length {
        /// In bytes.
        len: usize,
        /// Where its text begins.
        start: usize,
        /// In bytes.
        limit: usize,
    },
    /// What came out is not what went in.
    #[error("its CRC is {found:08x}, it says {expected:08x}")]
    Crc {
        /// Of the bytes that came out.
        found: u32,
        /// As the data says.
        expected: u32,
    },
    /// The data ends before the stream.
    #[error("it ends early")]
    CutOff,
}

/// One bzip2 stream, being unpacked.
pub(crate) struct Bunzip<'a> {
    bits: Bits<'a>,
    block: Block,
    /// The block's text.
    segments: Segments,
    /// How far it was read.
    text: Option<Text>,
    /// Of all blocks so far.
    crc: Crc,
}

impl<'a> Bunzip<'a> {
    /// Bytes that come at a time, at most.
    pub(crate) const STEP: usize = runs::MOST;

    /// Begins.
    ///
    /// # Errors
    /// [`BunzipError::Header`] or [`BunzipError::CutOff`].
    pub(crate) fn new(data: &'a [u8]) -> Result<Self, BunzipError> {
        Self::of_blocks(data, usize::MAX)
    }

    /// Begins, for who wants so little that blocks of more than `most` bytes would be a waste of
    /// time. They are refused.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn of_blocks(data: &'a [u8], most: usize) -> Result<Self, BunzipError> {
        let (Some(header), Some(rest)) = (data.get(..4), data.get(4..)) else {
            return Err(BunzipError::CutOff);
        };
        match *header {
            [b'B', b'Z', b'h', level @ b'1'..=b'9'] => Ok(Self {
                bits: Bits::new(rest),
                block: Block::new(most.min(usize::from(level - b'0') * 100_000)),
                segments: Segments::default(),
                text: None,
                crc: Crc::default(),
            }),
            _ => Err(BunzipError::Header),
        }
    }

    /// Appends the next bytes to `out`, [`Self::STEP`] at most; whether more may follow.
    ///
    /// # Errors
    /// [`BunzipError`]; nothing more comes then.
    pub(crate) fn read(&mut self, out: &mut Vec<u8>) -> Result<bool, BunzipError> {
        let Some(text) = &mut self.text else {
            return self.begin_block();
        };
        if !text.read(&self.segments, out) {
            self.crc.add_block(text.finish()?);
            self.text = None;
        }
        Ok(true)
    }

    fn begin_block(&mut self) -> Result<bool, BunzipError> {
        match self.bits.take(48) {
            BLOCK => {
                let begun = self.block.read(&mut self.bits);
                // What follows the data's end reads as zeros, which may look like any fault.
                self.bits.check()?;
                let head = begun?;
                self.segments.follow(self.block.links(), head.starts);
                self.text = Some(Text::new(head));
                Ok(true)
            }
            END => {
                let expected = self.bits.take_u32();
                self.bits.check()?;
                self.crc.check_stream(expected)?;
                Ok(false)
            }
            magic => Err(self.bits.check().err().unwrap_or(BunzipError::Magic(magic))),
        }
    }

    /// Bytes behind the stream's end, once it has ended.
    pub(crate) fn rest(&self) -> usize {
        self.bits.rest()
    }
}
