//! Pieces of a new file that are much like pieces of an old one.
//!
//! ```text
//!  old  ───────[=====x====x==]──────────
//!                   │ grown on both sides while more bytes agree than differ
//!  new  ──[=====x====x==]───────────────
//! ```
//!
//! The method of `bsdiff`: programs that were built again differ in addresses all over, but hardly
//! in between. So a match goes on past differences, which end up as small numbers in the diff.

use super::suffixes::Suffixes;

/// Bytes that a match elsewhere must be better than going on as before.
const BETTER: usize = 8;

/// Bytes of the new file that are those of the old one, or nearly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Similar {
    pub(crate) old: usize,
    pub(crate) new: usize,
    pub(crate) len: usize,
}

impl Similar {
    pub(crate) fn old_end(&self) -> usize {
        self.old + self.len
    }

    pub(crate) fn new_end(&self) -> usize {
        self.new + self.len
    }
}

/// The pieces of `new` that have their like in the old file, in order, without overlap.
pub(crate) fn similar(suffixes: &Suffixes<'_>, new: &[u8]) -> Vec<Similar> {
    let old = suffixes.old();
    let (mut found, mut last, mut from) = (Vec::new(), Similar::default(), 0);
    while let Some(next) = seek(suffixes, new, &last, from) {
        from = next.new + next.len;
        if next.goes_on {
            continue;
        }
        let mut back = backward(&old[..next.old], &new[last.new..next.new]);
        last.len = forward(&old[last.old..], &new[last.new..next.new]);
        let overlap = (last.len + back).saturating_sub(next.new - last.new);
        if overlap > 0 {
            let first = (last.old_end() - overlap, last.new_end() - overlap);
            let second = (next.old - back, next.new - back);
            let kept = split(old, new, first, second, overlap);
            last.len -= overlap - kept;
            back -= kept;
        }
        found.push(last);
        last = Similar {
            old: next.old - back,
            new: next.new - back,
            len: 0,
        };
    }
    last.len = forward(&old[last.old..], &new[last.new..]);
    found.push(last);
    found.retain(|piece| piece.len > 0);
    found
}

/// A match that is long enough.
struct Next {
    old: usize,
    new: usize,
    len: usize,
    /// It is where `last` leads anyway.
    goes_on: bool,
}

/// The next match from `from` on that is better than going on with `last`, or as good as that.
fn seek(suffixes: &Suffixes<'_>, new: &[u8], last: &Similar, from: usize) -> Option<Next> {
    let old = suffixes.old();
    let agrees = |at: usize| old.get(last.old + at - last.new) == Some(&new[at]);
    // Bytes that agree if it goes on with `last`, from the place at hand up to `counted`.
    let (mut score, mut counted) = (0_usize, from);
    for at in from..new.len() {
        let (place, len) = suffixes.longest(&new[at..]);
        while counted < at + len {
            score += usize::from(agrees(counted));
            counted += 1;
        }
        if (len == score && len > 0) || len > score + BETTER {
            return Some(Next {
                old: place,
                new: at,
                len,
                goes_on: len == score,
            });
        }
        score -= usize::from(counted > at && agrees(at));
        counted = counted.max(at + 1);
    }
    None
}

/// How far going on agrees more than it differs.
fn forward(old: &[u8], new: &[u8]) -> usize {
    best(old.iter().zip(new).map(|(old, new)| old == new))
}

/// Likewise, towards the front.
fn backward(old: &[u8], new: &[u8]) -> usize {
    best(
        old.iter()
            .rev()
            .zip(new.iter().rev())
            .map(|(old, new)| old == new),
    )
}

/// The length at which the surplus of agreements is largest; the first of equal ones.
fn best(agreements: impl Iterator<Item = bool>) -> usize {
    let (mut surplus, mut most, mut len) = (0_i64, 0, 0);
    for (at, agrees) in agreements.enumerate() {
        surplus += if agrees { 1 } else { -1 };
        if surplus > most {
            (most, len) = (surplus, at + 1);
        }
    }
    len
}

/// Of so many bytes that two pieces both want: how many the first one gets.
fn split(old: &[u8], new: &[u8], first: (usize, usize), second: (usize, usize), overlap: usize) -> usize {
    let agrees = |(in_old, in_new): (usize, usize), at: usize| old[in_old + at] == new[in_new + at];
    let (mut surplus, mut most, mut kept) = (0_i64, 0, 0);
    for at in 0..overlap {
        surplus += i64::from(agrees(first, at)) - i64::from(agrees(second, at));
        if surplus > most {
            (most, kept) = (surplus, at + 1);
        }
    }
    kept
}
