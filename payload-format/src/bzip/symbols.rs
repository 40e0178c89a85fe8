//! The symbols of a block: how far back each byte was used last, and runs of the byte that was used
//! just before.

/// Symbols of an alphabet, at most: two for runs, 255 ranks, the end.
pub(super) const MOST: usize = 258;

/// A block's symbols.
pub(super) struct Symbols {
    /// In the order of the column, the end behind them.
    pub(super) sequence: Vec<u16>,
    /// How often each occurs.
    pub(super) counts: Vec<u32>,
    /// Bytes that occur.
    pub(super) used: [bool; 256],
}

impl Symbols {
    /// Of a last column.
    pub(super) fn of(column: &[u8]) -> Self {
        let mut used = [false; 256];
        for byte in column {
            used[usize::from(*byte)] = true;
        }
        let alphabet: Vec<u8> = (0..=255).filter(|byte| used[usize::from(*byte)]).collect();
        let end = alphabet.len() + 1;
        let mut symbols = Self {
            sequence: Vec::with_capacity(column.len() + 1),
            counts: vec![0; end + 1],
            used,
        };
        symbols.read(column, &alphabet);
        symbols.push(end);
        symbols
    }

    fn read(&mut self, column: &[u8], alphabet: &[u8]) {
        let (mut uses, mut first, mut run) = (Uses::of(alphabet), alphabet[0], 0);
        for byte in column {
            if *byte == first {
                run += 1;
                continue;
            }
            self.push_run(run);
            (first, run) = (*byte, 0);
            self.push(uses.rank(*byte) + 1);
        }
        self.push_run(run);
    }

    /// The digits of a run's length, the lowest first: each is 1 or 2.
    fn push_run(&mut self, mut len: usize) {
        while len > 0 {
            let two = len.is_multiple_of(2);
            self.push(usize::from(two));
            len = (len - 1) / 2;
        }
    }

    fn push(&mut self, symbol: usize) {
        self.counts[symbol] += 1;
        // 257 at most.
        self.sequence.push(u16::try_from(symbol).unwrap_or(u16::MAX));
    }
}

/// When each byte was used last. A byte's rank is how many others were used since.
///
/// The last sixteen are in one number, as the decoder has them, where a rank is found by a few
/// operations. Of the others the later ones are counted, four at once: moving them would take turns
/// that depend on the last one. Both are arithmetic on whole numbers, since whether a compiler
/// makes vectors of a loop depends on how the program is linked: with `lto = "fat"` and a program
/// optimised for size it doesn't, and packing took 1.8 times as long.
struct Uses {
    /// The last sixteen, the last one at the bottom.
    head: u128,
    /// By byte, four in a number: the time of the last use, below 2^15; 0 of those that are never
    /// used.
    times: [u64; 64],
    /// Of the next use.
    now: u16,
}

/// A one in each of four numbers of 16 bits.
const FOUR: u64 = 0x0001_0001_0001_0001;

/// A one in each of sixteen bytes.
const SIXTEEN: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;

/// Above every time.
const NEVER: u16 = 1 << 15;

impl Uses {
    /// Before any use: in the order of the alphabet. Other bytes are never used.
    fn of(alphabet: &[u8]) -> Self {
        let mut uses = Self {
            head: 0,
            times: [0; 64],
            now: 1,
        };
        for byte in alphabet.iter().rev() {
            uses.set_time(*byte);
            uses.head = uses.head << 8 | u128::from(*byte);
        }
        uses
    }

    /// How many bytes were used since `byte` was, which is used now.
    #[inline]
    fn rank(&mut self, byte: u8) -> usize {
        let rank = if let Some(place) = self.place_in_head(byte) {
            let (behind, before) = ((u128::MAX << 8) << (place * 8), !(u128::MAX << (place * 8)));
            self.head = self.head & behind | (self.head & before) << 8 | u128::from(byte);
            place
        } else {
            self.head = self.head << 8 | u128::from(byte);
            self.later_than(self.time(byte))
        };
        self.set_time(byte);
        if self.now == NEVER - 1 {
            self.renew();
        }
        rank
    }

    /// Where `byte` is among the last sixteen. An alphabet of less than sixteen has zeros behind
    /// it, which the lowest place, the right one, comes before.
    const fn place_in_head(&self, byte: u8) -> Option<usize> {
        // Zero where it is.
        let others = self.head ^ (SIXTEEN * byte as u128);
        // The top bit of the lowest byte that is zero; above it there may be wrong ones.
        let found = others.wrapping_sub(SIXTEEN) & !others & (SIXTEEN << 7);
        if found == 0 {
            return None;
        }
        Some(found.trailing_zeros() as usize / 8)
    }

    /// How many times are later than `time`.
    fn later_than(&self, time: u16) -> usize {
        let (top, least) = (FOUR << 15, FOUR * (u64::from(time) + 1));
        // The top bit stays where a time is at least that; no number borrows from the next.
        let counts = self.times.iter().fold(0, |counts, times| {
            counts + ((((times | top) - least) & top) >> 15)
        });
        // 64 in each at most: the product's highest number is the sum of all four.
        let sum = counts.wrapping_mul(FOUR) >> 48;
        usize::try_from(sum).unwrap_or(usize::MAX)
    }

    const fn time(&self, byte: u8) -> u16 {
        let (word, lane) = place_of(byte);
        // The lowest number of what is left.
        (self.times[word] >> lane & 0xffff) as u16
    }

    /// `byte` is used now.
    fn set_time(&mut self, byte: u8) {
        let (word, lane) = place_of(byte);
        let times = &mut self.times[word];
        *times = *times & !(0xffff << lane) | u64::from(self.now) << lane;
        self.now += 1;
    }

    /// Numbers the last uses anew.
    #[cold]
    fn renew(&mut self) {
        let mut bytes: Vec<u8> = (0..=255).filter(|byte| self.time(*byte) > 0).collect();
        bytes.sort_by_key(|byte| std::cmp::Reverse(self.time(*byte)));
        *self = Self::of(&bytes);
    }
}

/// The number that holds a byte's time, and the bits below it there.
const fn place_of(byte: u8) -> (usize, u32) {
    (byte as usize / 4, byte as u32 % 4 * 16)
}
