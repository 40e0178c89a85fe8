//! Huffman codes.

use super::bits::Bits;

/// Bits of a code, at most.
pub(super) const LONGEST: u32 = 20;

/// Symbols of an alphabet, at most: two for runs, 255 ranks, the end.
pub(super) const MOST: usize = 258;

/// Codes up to this many bits are looked up at once.
const FAST: u32 = 10;

/// From 0 to the longest.
const LENGTHS: usize = LONGEST as usize + 1;

/// A symbol, and the bits of its code.
#[derive(Clone, Copy)]
struct Entry {
    symbol: u16,
    length: u8,
}

const NONE: Entry = Entry { symbol: 0, length: 0 };

/// One prefix code.
pub(super) struct Code {
    /// By the next bits; none where the code is longer.
    fast: [Entry; 1 << FAST],
    /// By length: the first 20 bits that are past all codes of this length and of shorter ones.
    end: [u32; LENGTHS],
    /// By length: the first code, and where its symbol stands in `symbols`.
    first: [(u32, usize); LENGTHS],
    /// In the order of their codes.
    symbols: [usize; MOST],
}

impl Code {
    pub(super) const fn new() -> Self {
        Self {
            fast: [NONE; 1 << FAST],
            end: [0; LENGTHS],
            first: [(0, 0); LENGTHS],
            symbols: [0; MOST],
        }
    }

    /// Makes it the code whose symbols have these lengths, each from 1 to 20. Where that asks for
    /// more codes than there are, the last symbols have none, as in libbz2.
    pub(super) fn set(&mut self, lengths: &[u8]) {
        let (mut code, mut index) = (0, 0);
        self.fast.fill(NONE);
        for (length, bits) in (0..=LONGEST).enumerate().skip(1) {
            self.first[length] = (code, index);
            for (symbol, _) in lengths
                .iter()
                .enumerate()
                .filter(|(_, own)| usize::from(**own) == length)
            {
                self.add(code, bits, symbol);
                self.symbols[index] = symbol;
                code += 1;
                index += 1;
            }
            self.end[length] = code << (LONGEST - bits);
            code <<= 1;
        }
    }

    fn add(&mut self, code: u32, bits: u32, symbol: usize) {
        let (Some(free), Ok(symbol), Ok(length)) =
            (FAST.checked_sub(bits), symbol.try_into(), bits.try_into())
        else {
            return;
        };
        let start = (code as usize) << free;
        if let Some(places) = self.fast.get_mut(start..start + (1 << free)) {
            places.fill(Entry { symbol, length });
        }
    }

    /// The next symbol; none where the bits are no code. [`LONGEST`] bits are available.
    #[inline]
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let next = usize::try_from(bits.peek(FAST)).unwrap_or(0);
        let entry = self.fast[next % (1 << FAST)];
        if entry.length == 0 {
            return self.long(bits);
        }
        bits.skip(u32::from(entry.length));
        Some(usize::from(entry.symbol))
    }

    #[cold]
    fn long(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let next = u32::try_from(bits.peek(LONGEST)).ok()?;
        let length = (FAST + 1..=LONGEST).find(|length| next < self.end[*length as usize])?;
        let (code, index) = self.first[length as usize];
        bits.skip(length);
        let at = (next >> (LONGEST - length)).checked_sub(code)?;
        self.symbols.get(index + at as usize).copied()
    }
}
