//! Run decoding: the last stage, from a block's text to its bytes, and their CRC.

use super::BunzipError;
use super::block::Head;
use super::crc::{self, BlockCrc};
use super::inverse_bwt::{Place, Segments};

/// Bytes of the block that are followed at a time.
const STEP: usize = 4096;

/// Bytes that they become at most: every fifth stands for 255.
pub(super) const MOST: usize = STEP / 5 * 259 + 259;

/// Equal bytes after which a byte says how many more there are.
const RUN: u8 = 4;

/// What is left of a block's text.
pub(super) struct Text {
    /// How far it was read.
    place: Place,
    /// Bytes of the block that are left.
    left: usize,
    /// How often in a row the last byte came.
    run: u8,
    last: u8,
    crc: BlockCrc,
    expected: u32,
}

impl Text {
    /// The beginning of a block's text.
    pub(super) fn new(head: Head) -> Self {
        Self {
            place: Place::first(head.starts),
            left: head.len,
            run: 0,
            last: 0,
            crc: BlockCrc::default(),
            expected: head.crc,
        }
    }

    /// Appends some of it to `out`; whether more follows.
    pub(super) fn read(&mut self, segments: &Segments, out: &mut Vec<u8>) -> bool {
        let mut bytes = [0; STEP];
        let bytes = &mut bytes[..STEP.min(self.left)];
        segments.read(&mut self.place, bytes);
        self.left -= bytes.len();
        let begun = out.len();
        self.unroll(bytes, out);
        self.crc.update(&out[begun..]);
        self.left > 0
    }

    fn unroll(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if self.run == RUN {
                out.resize(out.len() + usize::from(byte), self.last);
                self.run = 0;
                continue;
            }
            self.run = if byte == self.last { self.run + 1 } else { 1 };
            self.last = byte;
            out.push(byte);
        }
    }

    /// The CRC of all of it.
    ///
    /// # Errors
    /// [`BunzipError::Crc`] if it is not the block's, [`BunzipError::Description`] if it ends within a run.
    pub(super) fn finish(&self) -> Result<u32, BunzipError> {
        if self.run == RUN {
            return Err(BunzipError::Description("runs"));
        }
        crc::check(self.crc.value(), self.expected)?;
        Ok(self.expected)
    }
}
