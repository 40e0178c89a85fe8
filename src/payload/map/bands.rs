//! The bands of a picture: blocks that go from one strip to another.

use std::collections::BTreeSet;

use super::Paint;

/// Bands that are drawn at most: more of them are a grey haze.
const MOST: usize = 4000;

/// From columns of one strip to columns of another.
#[derive(Default)]
pub(super) struct Bands {
    /// Single columns, by how far they move.
    columns: BTreeSet<(Paint, i64, u64)>,
    wide: BTreeSet<Band>,
}

/// Columns that stay together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Band {
    pub(super) paint: Paint,
    /// Where it begins: first column, and first one past it.
    pub(super) from: (u64, u64),
    /// Where it ends, likewise.
    pub(super) to: (u64, u64),
}

impl Bands {
    /// One column goes to another.
    pub(super) fn add(&mut self, paint: Paint, from: u64, to: u64) {
        let shift = to.cast_signed() - from.cast_signed();
        self.columns.insert((paint, shift, from));
    }

    /// Columns become other columns, more or fewer.
    pub(super) fn add_wide(&mut self, band: Band) {
        self.wide.insert(band);
    }

    /// The widest ones, wide ones first, so that narrow ones are drawn above them.
    pub(super) fn widest(&self) -> Vec<Band> {
        let mut bands: Vec<Band> = Vec::new();
        for (paint, shift, from) in &self.columns {
            let to = from.saturating_add_signed(*shift);
            let last = bands
                .last_mut()
                .filter(|last| last.paint == *paint && last.from.1 == *from && last.to.1 == to);
            match last {
                Some(last) => (last.from.1, last.to.1) = (from + 1, to + 1),
                None => bands.push(Band {
                    paint: *paint,
                    from: (*from, from + 1),
                    to: (to, to + 1),
                }),
            }
        }
        bands.extend(&self.wide);
        bands.sort_by_key(|band| std::cmp::Reverse(band.width()));
        bands.truncate(MOST);
        bands
    }
}

impl Band {
    fn width(&self) -> u64 {
        let width = |(start, end): (u64, u64)| end.saturating_sub(start);
        width(self.from) + width(self.to)
    }
}
