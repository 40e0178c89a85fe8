//! Burrows-Wheeler transform: the last column of a block's sorted rotations.

use libsais::SuffixArrayConstruction;

pub(super) struct Sorted {
    /// By rotation, in their order: the byte before its first one.
    pub(super) last_column: Vec<u8>,
    /// Where the block itself stands among its rotations.
    pub(super) first: usize,
}

/// Sorts the rotations of a block that is not empty. None if some are equal, if there is no memory,
/// or if the order is wrong.
///
/// Suffixes are sorted by a library in C. In a word that is less than all of its other rotations,
/// suffixes have the order of the rotations that begin with them.
pub(super) fn sort(block: &[u8]) -> Option<Sorted> {
    let least = least_rotation(block)?;
    let word = [&block[least..], &block[..least]].concat();
    let suffixes = SuffixArrayConstruction::for_text(&word).in_owned_buffer32();
    let suffixes = suffixes.single_threaded().run().ok()?.into_vec();
    let mut last_column = vec![0; word.len()];
    for (place, suffix) in last_column.iter_mut().zip(&suffixes) {
        *place = *word.get(before(*suffix, &word))?;
    }
    check(&word, &last_column, &suffixes)?;
    // Where the block begins in the word.
    let begin = (word.len() - least) % word.len();
    let first = suffixes.iter().position(|suffix| place(*suffix) == begin)?;
    Some(Sorted { last_column, first })
}

/// Whether a decoder will find its way: equal bytes of the last column keep their order in the
/// first one, so it goes from the row of a suffix to that of the suffix which is one byte longer.
fn check(word: &[u8], last_column: &[u8], suffixes: &[i32]) -> Option<()> {
    let mut rows = [0; 256];
    for byte in word {
        rows[usize::from(*byte)] += 1;
    }
    let mut sum = 0;
    for row in &mut rows {
        (*row, sum) = (sum, sum + *row);
    }
    for (byte, suffix) in last_column.iter().zip(suffixes) {
        let row = &mut rows[usize::from(*byte)];
        let longer = suffixes.get(*row)?;
        *row += 1;
        if place(*longer) != before(*suffix, word) {
            return None;
        }
    }
    Some(())
}

/// Where a suffix begins.
const fn place(suffix: i32) -> usize {
    suffix.cast_unsigned() as usize
}

/// Where the suffix begins that is one byte longer; the whole word has the last byte before it.
const fn before(suffix: i32, word: &[u8]) -> usize {
    let suffix = place(suffix);
    if suffix == 0 { word.len() - 1 } else { suffix - 1 }
}

/// Where the least rotation begins; none if several are equal.
fn least_rotation(block: &[u8]) -> Option<usize> {
    let Some(begin) = block.first_chunk::<8>() else {
        return least_of_all_rotations(block);
    };
    let turned = [block, begin].concat();
    let keys = turned.windows(8).take(block.len()).map(|eight| {
        let eight = eight.first_chunk();
        eight.map_or(0, |eight| u64::from_be_bytes(*eight))
    });
    let least = keys.clone().min()?;
    let mut equal = keys.enumerate().filter(|(_, key)| *key == least);
    match (equal.next(), equal.next()) {
        // Most blocks have but one.
        (Some((only, _)), None) => Some(only),
        _ => least_of_all_rotations(block),
    }
}

/// The same, for any block.
///
/// Two candidates are compared. Where they first differ, at `len`, the greater one is out, and so
/// are those that begin up to there: each of them is greater than the one that begins as far behind
/// the other candidate.
fn least_of_all_rotations(block: &[u8]) -> Option<usize> {
    let turned = [block, block].concat();
    let (mut one, mut other, mut len) = (0, 1, 0);
    while one < block.len() && other < block.len() {
        if len == block.len() {
            return None;
        }
        let (a, b) = (turned[one + len], turned[other + len]);
        if a == b {
            len += 1;
            continue;
        }
        if a > b {
            one += len + 1;
        } else {
            other += len + 1;
        }
        if one == other {
            other += 1;
        }
        len = 0;
    }
    Some(one.min(other))
}
