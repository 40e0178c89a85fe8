//! What a power cut makes of writes that were not synced.

use test_support::random::Random;

/// Which of them reach the medium. Within one write sectors are whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// None.
    Lost,
    /// All.
    Kept,
    /// Only the newest: it overtook the others.
    Overtaken,
    /// All but some sectors of the newest.
    Torn,
    /// Any sectors of any, in any order.
    Mixed,
}

/// One way for a cut to happen.
pub(crate) struct Loss {
    kind: Kind,
    newest: usize,
    random: Random,
    /// How much survives, in eighths.
    eighths: u64,
}

impl Loss {
    /// At the time of call `newest`.
    pub(crate) fn new(kind: Kind, newest: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let eighths = [1, 4, 7][usize::try_from(random.next() % 3).unwrap()];
        Self {
            kind,
            newest,
            random,
            eighths,
        }
    }

    /// Whether the next sector of the call's write, or its change of a name, is on the medium.
    pub(crate) fn keeps(&mut self, call: usize) -> bool {
        match self.kind {
            Kind::Lost => false,
            Kind::Kept => true,
            Kind::Overtaken => call == self.newest,
            Kind::Torn => call != self.newest || self.random.chance(4),
            Kind::Mixed => self.random.chance(self.eighths),
        }
    }

    /// The order in which unsynced writes reach the medium.
    pub(crate) fn arrange<T>(&mut self, writes: &mut [T]) {
        if self.kind == Kind::Mixed {
            self.random.shuffle(writes);
        }
    }
}
