//! Run decoding: the last stage, from a block's text to its bytes, and their CRC.

use super::BunzipError;
use super::block::BlockHeader;
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
    runs: Runs,
    crc: BlockCrc,
    expected: u32,
}

impl Text {
    /// The beginning of a block's text.
    pub(super) fn new(head: BlockHeader) -> Self {
        Self {
            place: Place::first(head.starts),
            left: head.len,
            runs: Runs::default(),
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
        self.runs.unroll(bytes, out);
        self.crc.update(&out[begun..]);
        self.left > 0
    }

    /// The CRC of all of it.
    ///
    /// # Errors
    /// [`BunzipError::Crc`] if it is not the block's, [`BunzipError::Description`] if it ends
    /// within a run.
    pub(super) fn finish(&self) -> Result<u32, BunzipError> {
        if self.runs.run == RUN {
            return Err(BunzipError::Description("runs"));
        }
        crc::check(self.crc.value(), self.expected)?;
        Ok(self.expected)
    }
}

/// What the text so far ended in.
#[derive(Default)]
struct Runs {
    /// How often in a row the last byte came; 0 behind a run's length.
    run: u8,
    last: u8,
}

impl Runs {
    /// Appends `bytes` to `out`, each run as long as the byte behind it says.
    fn unroll(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let [byte, rest @ ..] = bytes {
            if self.run == RUN {
                out.resize(out.len() + usize::from(*byte), self.last);
                (self.run, bytes) = (0, rest);
            } else if self.run > 0 && *byte == self.last {
                out.push(*byte);
                (self.run, bytes) = (self.run + 1, rest);
            } else {
                // No run has begun.
                let (now, later) = bytes.split_at(end_of_run(bytes));
                out.extend_from_slice(now);
                self.last = now.last().copied().unwrap_or(self.last);
                self.run = equal_at_the_end(now);
                bytes = later;
            }
        }
    }
}

/// Where the first run ends that is as long as runs get; the end of `bytes` if there is none.
fn end_of_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(eleven) = bytes[at..].first_chunk::<11>() {
        let eight = |from: usize| {
            let eight = eleven[from..].first_chunk();
            eight.map_or(0, |eight| u64::from_le_bytes(*eight))
        };
        // Zero where a byte equals each of the next three.
        let differ = (eight(0) ^ eight(1)) | (eight(1) ^ eight(2)) | (eight(2) ^ eight(3));
        let zeros = differ.wrapping_sub(u64::from_le_bytes([1; 8])) & !differ & u64::from_le_bytes([0x80; 8]);
        if zeros != 0 {
            return at + zeros.trailing_zeros() as usize / 8 + usize::from(RUN);
        }
        at += 8;
    }
    let run = |four: &[u8]| four.iter().all(|byte| *byte == four[0]);
    let found = bytes[at..].windows(usize::from(RUN)).position(run);
    found.map_or(bytes.len(), |found| at + found + usize::from(RUN))
}

/// How many of the last bytes are equal, [`RUN`] at most.
fn equal_at_the_end(bytes: &[u8]) -> u8 {
    let last = bytes.last();
    let equal = bytes.iter().rev().take_while(|byte| Some(*byte) == last);
    equal.zip(1..=RUN).map(|(_, count)| count).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RUN, Runs};

    /// The same, byte by byte.
    fn byte_by_byte(bytes: &[u8]) -> Vec<u8> {
        let (mut out, mut run, mut last) = (Vec::new(), 0, 0);
        for &byte in bytes {
            if run == RUN {
                out.resize(out.len() + usize::from(byte), last);
                run = 0;
                continue;
            }
            run = if byte == last { run + 1 } else { 1 };
            last = byte;
            out.push(byte);
        }
        out
    }

    proptest! {
        #[test]
        fn runs_are_as_long_as_they_say(
            text in prop::collection::vec((0..3_u8, 1..7_usize), 0..60), step in 1..60_usize,
        ) {
            let text: Vec<u8> = text.iter().flat_map(|(byte, times)| vec![*byte; *times]).collect();
            let (mut runs, mut out) = (Runs::default(), Vec::new());
            for piece in text.chunks(step) {
                runs.unroll(piece, &mut out);
            }
            prop_assert_eq!(out, byte_by_byte(&text));
        }
    }
}
