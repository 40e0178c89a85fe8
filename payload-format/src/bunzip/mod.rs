//! Unpacking bzip2, for data that lies in memory whole.
//!
//! ```text
//!  bits ─▶ Huffman symbols ─▶ move to front, runs ─▶ last column, as `links` ─▶ text ─▶ runs ─▶ bytes, CRC
//!          symbols            block                  block                      text
//! ```
//!
//! bzip2 takes most of an installation's time, and libbz2 follows its input bit by bit so that it can stop
//! anywhere. Whoever has all of the input looks up whole codes, keeps the front of the list in a register and
//! checks bytes by eights. Measured on a version 1 payload of 1 GiB and two cores: 10.5 s of wall time and 17.7 s
//! of processor time, where the library takes 13.7 to 14.2 s and 24.7 s. Beside `bzip2 -dc | dd` (27.4 s, or 25.0 s
//! if the target is in the page cache already) that is 0.38 or 0.42 of its time, and 0.50 or 0.57 with the library;
//! 0.55 is promised. `lbzip2`, which needs 34 MiB and verifies nothing, takes 10.7 s. What is left is mostly waiting
//! for memory, one step of the text after the other.
//!
//! Memory: 4 bytes for each of the block's up to 900,000, whatever the data says.

mod bits;
mod block;
mod crc;
mod front;
mod symbols;
#[cfg(test)]
mod tests;
mod text;

use thiserror::Error;

use bits::Bits;
use block::Block;
use crc::Crc;
use text::Text;

/// Begins a block: the digits of pi.
const BLOCK: u64 = 0x3141_5926_5359;

/// Ends a stream: those of its square root.
const END: u64 = 0x1772_4538_5090;

/// Why data is no bzip2 stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BunzipError {
    /// It begins otherwise.
    #[error("it does not begin with BZh and a digit above 0")]
    Header,
    /// Neither a block nor the end comes where one should.
    #[error("{0:012x} begins neither a block nor the end")]
    Magic(u64),
    /// A way to write blocks that was given up before version 1: libbz2 still reads it, this doesn't.
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
    /// What is left of the block's text.
    text: Option<Text>,
    /// Of all blocks so far.
    crc: Crc,
}

impl<'a> Bunzip<'a> {
    /// Bytes that come at a time, at most.
    pub(crate) const STEP: usize = text::MOST;

    /// Begins.
    ///
    /// # Errors
    /// [`BunzipError::Header`] or [`BunzipError::CutOff`].
    pub(crate) fn new(data: &'a [u8]) -> Result<Self, BunzipError> {
        Self::of_blocks(data, usize::MAX)
    }

    /// Begins, for who wants so little that blocks of more than `most` bytes would be a waste of time. They are refused.
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
        if !text.read(self.block.links(), out) {
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
                self.text = Some(Text::new(self.block.links(), begun?));
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
