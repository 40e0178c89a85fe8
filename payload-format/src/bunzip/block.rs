//! A block: from its bits to the order of its bytes.

use std::ops::Range;

use super::BunzipError;
use super::bits::Bits;
use super::inverse_bwt::{self, Starts};
use super::mtf::MoveToFront;
use super::symbols::{Code, LONGEST, MOST};

/// Codes of a block, at most.
const CODES: usize = 6;

/// Symbols that are read with the same code.
const GROUP: usize = 50;

/// Bytes that are written at once, where a run is short.
const SHORT: usize = 4;

/// No digit of a run's length weighs more: a run as long would not fit any block.
const HEAVIEST: u32 = (1 << 22) - 1;

/// The block that was read last; its memory is used again for the next one.
pub(super) struct Block {
    /// Bytes at most.
    limit: usize,
    /// For each byte in its lower 8 bits; above, once they are linked, where the next one is. A few
    /// places more than the limit.
    links: Vec<u32>,
    len: usize,
    codes: Vec<Code>,
    /// Which code each group of symbols uses.
    selectors: Vec<u8>,
}

/// What a block says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockHeader {
    pub(super) crc: u32,
    /// Where its text begins, in the sorted order, and other rows.
    pub(super) starts: Starts,
    pub(super) len: usize,
}

impl Block {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            links: Vec::new(),
            len: 0,
            codes: (0..CODES).map(|_| Code::new()).collect(),
            selectors: Vec::new(),
        }
    }

    /// For each byte, in its lower 8 bits, where the next one is.
    pub(super) fn links(&self) -> &[u32] {
        &self.links[..self.len]
    }

    /// Reads a block behind its magic number.
    pub(super) fn read(&mut self, bits: &mut Bits<'_>) -> Result<BlockHeader, BunzipError> {
        let crc = bits.take_u32();
        if bits.flag() {
            return Err(BunzipError::Randomised);
        }
        let start = usize::from(bits.take_u8(8)) << 16 | usize::from(bits.take_u16(16));
        let (alphabet, used) = alphabet(bits)?;
        let codes = usize::from(bits.take_u8(3));
        if !(2..=CODES).contains(&codes) {
            return Err(BunzipError::Description("numbers of codes"));
        }
        self.read_selectors(bits, codes)?;
        // One for each rank but the first, two for runs of that, one for the end.
        let symbols = used + 2;
        for code in &mut self.codes[..codes] {
            code.set(&lengths(bits, symbols)?[..symbols]);
        }
        let counts = self.read_bytes(bits, MoveToFront::new(alphabet), symbols - 1)?;
        if start >= self.len || self.len > self.limit {
            let (len, limit) = (self.len, self.limit);
            return Err(BunzipError::Length { len, start, limit });
        }
        let starts = Starts::new(self.len, start, inverse_bwt::SPACING);
        inverse_bwt::link(&mut self.links[..self.len], &counts, starts);
        Ok(BlockHeader {
            crc,
            starts,
            len: self.len,
        })
    }

    /// Reads which group uses which code: ranks of another list that is moved to front.
    fn read_selectors(&mut self, bits: &mut Bits<'_>, codes: usize) -> Result<(), BunzipError> {
        self.selectors.clear();
        let mut order = [0, 1, 2, 3, 4, 5];
        for _ in 0..bits.take_u16(15) {
            let mut rank = 0;
            while bits.flag() {
                rank += 1;
                if rank >= codes {
                    return Err(BunzipError::Description("selectors"));
                }
            }
            order[..=rank].rotate_right(1);
            self.selectors.push(order[0]);
        }
        Ok(())
    }

    /// Reads the bytes in their sorted order; how often each occurs.
    fn read_bytes(
        &mut self,
        bits: &mut Bits<'_>,
        mut front: MoveToFront,
        end: usize,
    ) -> Result<[u32; 256], BunzipError> {
        self.links.resize(self.limit + SHORT, 0);
        let mut counts = [0; 256];
        let (mut at, mut weight) = (0, 1);
        for selector in &self.selectors {
            let code = &self.codes[usize::from(*selector) % CODES];
            for _ in 0..GROUP / 2 {
                bits.refill();
                // Twice the longest code is less than what a refill gives.
                for _ in 0..2 {
                    let symbol = code.symbol(bits).ok_or(BunzipError::Description("codes"))?;
                    if symbol == end {
                        self.len = at;
                        return Ok(counts);
                    }
                    // The first two are digits of a run's length: 1 or 2 of their weight.
                    let run = symbol < 2;
                    let len = if run { weight << symbol } else { 1 };
                    weight = if run { (weight << 1) & HEAVIEST } else { 1 };
                    let byte = front.take(symbol.max(1) - 1);
                    counts[usize::from(byte)] += len;
                    at = put(&mut self.links, self.limit, byte, at..at + len as usize)?;
                }
            }
        }
        Err(BunzipError::Description("groups"))
    }
}

/// Writes `byte` to all of `places`; where the next ones go.
#[inline]
fn put(links: &mut [u32], limit: usize, byte: u8, places: Range<usize>) -> Result<usize, BunzipError> {
    let (Range { start, end }, link) = (places, u32::from(byte));
    let (Some(short), true) = (links.get_mut(start..start + SHORT), end <= limit) else {
        return Err(BunzipError::Length {
            len: end,
            start: 0,
            limit,
        });
    };
    short.fill(link);
    if end - start > SHORT {
        links[start + SHORT..end].fill(link);
    }
    Ok(end)
}

/// The bytes that occur, in ascending order, and how many.
fn alphabet(bits: &mut Bits<'_>) -> Result<([u8; 256], usize), BunzipError> {
    let (mut alphabet, mut used) = ([0; 256], 0);
    let sixteens = bits.take_u16(16);
    for high in (0..16_u8).filter(|high| sixteens >> (15 - high) & 1 == 1) {
        let ones = bits.take_u16(16);
        for low in (0..16_u8).filter(|low| ones >> (15 - low) & 1 == 1) {
            alphabet[used] = high << 4 | low;
            used += 1;
        }
    }
    if used == 0 {
        return Err(BunzipError::Description("bytes"));
    }
    Ok((alphabet, used))
}

/// The lengths of a code, each as the difference to the one before.
fn lengths(bits: &mut Bits<'_>, symbols: usize) -> Result<[u8; MOST], BunzipError> {
    let mut lengths = [0; MOST];
    let mut length = bits.take_u8(5);
    for place in &mut lengths[..symbols] {
        loop {
            if !(1..=LONGEST).contains(&u32::from(length)) {
                return Err(BunzipError::Description("code lengths"));
            }
            if !bits.flag() {
                break;
            }
            length = if bits.flag() { length - 1 } else { length + 1 };
        }
        *place = length;
    }
    Ok(lengths)
}
