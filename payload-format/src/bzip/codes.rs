//! The codes of a block, and which of them each group of symbols uses: libbz2's choice, step by
//! step.

use super::bit_writer::BitWriter;
use super::symbols::{MOST, Symbols};

/// Symbols that are written with the same code.
const GROUP: usize = 50;

/// Codes of a block, at most.
const CODES: usize = 6;

/// How often codes are made anew for the groups that chose them.
const ROUNDS: usize = 4;

/// Bits of a code, at most.
const LONGEST: u32 = 17;

/// Bits of the sum of a group's lengths, in a number that has one such sum for each code.
const SUM: usize = 10;

/// What symbols cost at first in a code that is not meant for them.
const DEAR: u32 = 15;

type Lengths = [u32; MOST];

pub(super) struct Codes {
    /// By code, by symbol; those that are used.
    lengths: Vec<Lengths>,
    /// By group: its code.
    selectors: Vec<usize>,
    /// Of symbols.
    alphabet: usize,
}

impl Codes {
    pub(super) fn for_symbols(symbols: &Symbols) -> Self {
        let count = match symbols.sequence.len() {
            0..200 => 2,
            200..600 => 3,
            600..1200 => 4,
            1200..2400 => 5,
            _ => CODES,
        };
        let mut codes = Self {
            lengths: first_lengths(count, &symbols.counts, symbols.sequence.len()),
            selectors: Vec::new(),
            alphabet: symbols.counts.len(),
        };
        for _ in 0..ROUNDS {
            codes.improve(&symbols.sequence);
        }
        codes
    }

    /// Lets each group choose its cheapest code, then makes each code anew for the groups that
    /// chose it.
    fn improve(&mut self, symbols: &[u16]) {
        let mut costs = [0_u64; MOST];
        for (code, lengths) in self.lengths.iter().enumerate() {
            for (cost, length) in costs.iter_mut().zip(lengths) {
                *cost |= u64::from(*length) << (SUM * code);
            }
        }
        let mut counts = vec![[0; MOST]; self.lengths.len()];
        self.selectors.clear();
        for group in symbols.chunks(GROUP) {
            // 50 times 17 at most: sums don't reach into their neighbours.
            let sums: u64 = group.iter().map(|symbol| costs[usize::from(*symbol)]).sum();
            let sum = |code: &usize| sums >> (SUM * code) & ((1 << SUM) - 1);
            // The first one of equals.
            let code = (0..self.lengths.len()).min_by_key(sum).unwrap_or(0);
            self.selectors.push(code);
            for symbol in group {
                counts[code][usize::from(*symbol)] += 1;
            }
        }
        for (lengths, counts) in self.lengths.iter_mut().zip(&counts) {
            make_lengths(&mut lengths[..self.alphabet], &counts[..self.alphabet]);
        }
    }

    /// Writes the codes, then the symbols.
    pub(super) fn write(&self, out: &mut BitWriter, symbols: &Symbols) {
        out.put(3, self.lengths.len() as u64);
        out.put(15, self.selectors.len() as u64);
        let mut order = [0, 1, 2, 3, 4, 5];
        for selector in &self.selectors {
            let rank = order.iter().position(|code| code == selector).unwrap_or(0);
            order[..=rank].rotate_right(1);
            for _ in 0..rank {
                out.put(1, 1);
            }
            out.put(1, 0);
        }
        for lengths in &self.lengths {
            write_lengths(out, &lengths[..self.alphabet]);
        }
        let codes: Vec<_> = self.lengths.iter().map(|lengths| self.words(lengths)).collect();
        for (group, selector) in symbols.sequence.chunks(GROUP).zip(&self.selectors) {
            let words = &codes[*selector];
            for symbol in group {
                let (length, word) = words[usize::from(*symbol)];
                out.put(length, word);
            }
        }
    }

    /// By symbol: the bits of its code, and how many. Shorter ones come first, and among equally
    /// long ones the lesser symbol.
    fn words(&self, lengths: &Lengths) -> [(u32, u64); MOST] {
        let mut words = [(0, 0); MOST];
        let mut word = 0;
        for length in 1..=LONGEST {
            for (symbol, _) in lengths[..self.alphabet]
                .iter()
                .enumerate()
                .filter(|(_, own)| **own == length)
            {
                words[symbol] = (length, word);
                word += 1;
            }
            word <<= 1;
        }
        words
    }
}

/// Writes lengths, each as the difference to the one before.
fn write_lengths(out: &mut BitWriter, lengths: &[u32]) {
    let mut last = lengths.first().copied().unwrap_or(0);
    out.put(5, u64::from(last));
    for &length in lengths {
        for _ in last..length {
            out.put(2, 0b10);
        }
        for _ in length..last {
            out.put(2, 0b11);
        }
        out.put(1, 0);
        last = length;
    }
}

/// Divides the alphabet into ranges of about equally many symbols, the first one for the last code.
/// Symbols cost nothing in the code of their range.
fn first_lengths(codes: usize, counts: &[u32], symbols: usize) -> Vec<Lengths> {
    let mut all = vec![[DEAR; MOST]; codes];
    let (mut begin, mut left) = (0, symbols);
    for part in (1..=codes).rev() {
        let (mut end, mut sum) = (begin, 0);
        while sum < left / part && end < counts.len() {
            sum += counts[end] as usize;
            end += 1;
        }
        // Every second range gives its last symbol to the next one.
        if end > begin + 1 && part < codes && part > 1 && (codes - part) % 2 == 1 {
            end -= 1;
            sum -= counts[end] as usize;
        }
        all[part - 1][begin..end].fill(0);
        begin = end;
        left -= sum;
    }
    all
}

/// Makes the lengths of a code for symbols that occur so often, none of them longer than
/// [`LONGEST`]: where one would be, rare symbols are made less rare.
fn make_lengths(lengths: &mut [u32], counts: &[u32]) {
    let mut weights: Vec<u32> = counts.iter().map(|count| (*count).max(1)).collect();
    loop {
        Tree::of(&weights).depths(lengths);
        if lengths.iter().all(|length| *length <= LONGEST) {
            return;
        }
        for weight in &mut weights {
            *weight = *weight / 2 + 1;
        }
    }
}

/// A Huffman tree. Which nodes are joined where several weigh the same depends on the heap's order,
/// which is libbz2's.
struct Tree {
    /// By node, the symbols first: its parent; none yet.
    parents: Vec<Option<usize>>,
    /// By node: what it weighs, and below, in 8 bits, how many levels there are below it.
    weights: Vec<u32>,
    /// Nodes without a parent; none is lighter than the one at half its place. The first place is
    /// 1.
    heap: Vec<usize>,
}

impl Tree {
    fn of(weights: &[u32]) -> Self {
        let mut tree = Self {
            parents: vec![None; weights.len()],
            weights: weights.iter().map(|weight| weight << 8).collect(),
            // Nobody looks at this place.
            heap: vec![0],
        };
        for symbol in 0..weights.len() {
            tree.push(symbol);
        }
        while tree.heap.len() > 2 {
            let (one, other) = (tree.pop(), tree.pop());
            let parent = tree.parents.len();
            let (a, b) = (tree.weights[one], tree.weights[other]);
            let levels = 1 + (a & 0xff).max(b & 0xff);
            tree.weights.push(((a & !0xff) + (b & !0xff)) | levels);
            tree.parents.push(None);
            tree.parents[one] = Some(parent);
            tree.parents[other] = Some(parent);
            tree.push(parent);
        }
        tree
    }

    fn push(&mut self, node: usize) {
        let mut place = self.heap.len();
        self.heap.push(node);
        while place > 1 && self.weights[node] < self.weights[self.heap[place / 2]] {
            self.heap[place] = self.heap[place / 2];
            place /= 2;
        }
        self.heap[place] = node;
    }

    /// Takes the first node; the last one sinks from its place.
    fn pop(&mut self) -> usize {
        let first = self.heap.swap_remove(1);
        let weight = |node: usize| self.weights[node];
        let heap = &mut self.heap;
        let Some(&node) = heap.get(1) else { return first };
        let mut place = 1;
        while let Some(&left) = heap.get(place * 2) {
            let right = heap.get(place * 2 + 1).copied();
            let (child, to) = match right {
                Some(right) if weight(right) < weight(left) => (right, place * 2 + 1),
                _ => (left, place * 2),
            };
            if weight(node) < weight(child) {
                break;
            }
            heap[place] = child;
            place = to;
        }
        heap[place] = node;
        first
    }

    /// How deep each symbol lies.
    fn depths(&self, depths: &mut [u32]) {
        let mut all = vec![0; self.parents.len()];
        // Parents come behind their children.
        for (node, parent) in self.parents.iter().enumerate().rev() {
            all[node] = parent.map_or(0, |parent| all[parent] + 1);
        }
        depths.copy_from_slice(&all[..depths.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, make_lengths};

    /// Each symbol as frequent as the two rarer ones together: a tree that has no branches.
    #[test]
    fn no_code_is_longer_than_it_may_be_and_no_bits_are_left_over() {
        let mut counts = vec![1, 1];
        while counts.len() < 28 {
            counts.push(counts[counts.len() - 1] + counts[counts.len() - 2]);
        }
        let mut lengths = vec![0; counts.len()];
        make_lengths(&mut lengths, &counts);
        assert!(lengths.iter().all(|length| *length <= LONGEST), "{lengths:?}");
        assert_eq!(
            lengths
                .iter()
                .map(|length| 1_u32 << (LONGEST - length))
                .sum::<u32>(),
            1 << LONGEST
        );
    }
}
