//! Longest-match lookup in the old file's suffix array.

use std::io;

use libsais::SuffixArrayConstruction;

/// Bytes that are compared at most. A match that is longer is found again where this one ends.
const LONGEST: usize = 16 << 10;

/// An old file and the order of all its endings.
pub(crate) struct Suffixes<'a> {
    old: &'a [u8],
    sorted: Vec<i32>,
}

impl<'a> Suffixes<'a> {
    /// Takes four bytes of memory for each one of `old`.
    ///
    /// The order comes from a library in C, but nothing depends on its being right: whatever is
    /// found is compared with the files themselves, so a wrong order would only make patches
    /// larger.
    pub(crate) fn of(old: &'a [u8]) -> io::Result<Self> {
        let construction = SuffixArrayConstruction::for_text(old).in_owned_buffer32();
        let sorted = construction.single_threaded().run();
        let sorted = sorted.map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(Self {
            old,
            sorted: sorted.into_vec(),
        })
    }

    pub(crate) fn old(&self) -> &'a [u8] {
        self.old
    }

    /// The longest piece of the old file that `new` begins with: where it is, and its length.
    pub(crate) fn longest(&self, new: &[u8]) -> (usize, usize) {
        let new = &new[..new.len().min(LONGEST)];
        let (mut low, mut high) = (0, self.sorted.len());
        // Of `new` and the neighbours of what is left: everything between them shares the shorter.
        let (mut below, mut above) = (Found::default(), Found::default());
        while low < high {
            let middle = low.midpoint(high);
            let at = self.ending(middle);
            let len = common(&self.old[at..], new, below.len.min(above.len));
            if self.old[at..].get(len) < new.get(len) {
                below = Found { at, len };
                low = middle + 1;
            } else {
                above = Found { at, len };
                high = middle;
            }
        }
        let longest = if below.len > above.len { below } else { above };
        (longest.at, longest.len)
    }

    fn ending(&self, rank: usize) -> usize {
        self.sorted[rank].cast_unsigned() as usize
    }
}

#[derive(Clone, Copy, Default)]
struct Found {
    at: usize,
    len: usize,
}

/// Length of the common beginning, of which so much is known already.
fn common(a: &[u8], b: &[u8], known: usize) -> usize {
    const STEP: usize = 16;
    let mut len = known;
    while let (Some(x), Some(y)) = (a.get(len..len + STEP), b.get(len..len + STEP)) {
        if x != y {
            break;
        }
        len += STEP;
    }
    let rest = a[len..].iter().zip(&b[len..]);
    len + rest.take_while(|(x, y)| x == y).count()
}
