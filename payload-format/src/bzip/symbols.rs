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

/// When each byte was used last. A byte's rank is how many others were used since: counting them
/// takes no more than a comparison each, eight at once, where moving them takes turns that depend
/// on the last one.
struct Uses {
    times: [i16; 256],
    /// Of the next use.
    now: i16,
}

impl Uses {
    /// Before any use: in the order of the alphabet. Other bytes are never used.
    fn of(alphabet: &[u8]) -> Self {
        let mut uses = Self {
            times: [i16::MIN; 256],
            now: 0,
        };
        for byte in alphabet.iter().rev() {
            uses.times[usize::from(*byte)] = uses.now;
            uses.now += 1;
        }
        uses
    }

    /// How many bytes were used since `byte` was, which is used now.
    #[inline]
    fn rank(&mut self, byte: u8) -> usize {
        let own = self.times[usize::from(byte)];
        let later = self
            .times
            .iter()
            .fold(0, |count: u16, time| count + u16::from(*time > own));
        self.times[usize::from(byte)] = self.now;
        self.now += 1;
        if self.now == i16::MAX {
            self.renew();
        }
        usize::from(later)
    }

    /// Numbers the last uses anew.
    #[cold]
    fn renew(&mut self) {
        let mut bytes: Vec<u8> = (0..=255)
            .filter(|byte| self.times[usize::from(*byte)] > i16::MIN)
            .collect();
        bytes.sort_by_key(|byte| std::cmp::Reverse(self.times[usize::from(*byte)]));
        *self = Self::of(&bytes);
    }
}
