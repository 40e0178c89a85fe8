//! The columns of a picture, which images are cut into, and the bands between them: blocks that go from
//! one strip to another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use payload_format::{BlockRange, Extent, Operation, Run};

use super::Paint;

/// Columns of a strip.
pub(super) const COLUMNS: u64 = 1100;

/// From units, blocks or bytes, to columns.
pub(super) struct Scale {
    units: u64,
}

/// A part of a range that lies in one column.
pub(super) struct Piece {
    pub(super) column: u64,
    /// The unit at its middle.
    pub(super) middle: u64,
    /// How much it is, in shares of a column that are the same for all columns.
    pub(super) amount: u64,
}

impl Scale {
    /// All columns together show so many units.
    pub(super) fn of(units: u64) -> Self {
        Self { units: units.max(1) }
    }

    /// The column in which a unit begins; what lies past the end is shown in the last one.
    pub(super) fn column(&self, unit: u64) -> u64 {
        share(COLUMNS, unit.min(self.units - 1), self.units)
    }

    /// The columns of units from `start` to `end`: at least one.
    pub(super) fn columns(&self, start: u64, end: u64) -> (u64, u64) {
        let first = self.column(start);
        let end = share(COLUMNS, end.min(self.units), self.units);
        (first, end.max(first + 1))
    }

    /// Units from `start` to `end`, cut where columns end. What lies past the end isn't shown.
    pub(super) fn pieces(&self, start: u64, end: u64) -> impl Iterator<Item = Piece> + use<> {
        let units = self.units;
        let (start, end) = (start.min(units), end.min(units));
        // Of a column, in parts of a unit: many columns may show one unit, or one column many.
        let (first, last) = (fine(start), fine(end));
        let columns = first / u128::from(units)..last.div_ceil(u128::from(units));
        columns.filter_map(move |column| {
            let from = first.max(column * u128::from(units));
            let to = last.min((column + 1) * u128::from(units));
            let middle = from.midpoint(to) / u128::from(COLUMNS);
            Some(Piece {
                column: u64::try_from(column).ok()?,
                middle: u64::try_from(middle).ok()?,
                amount: u64::try_from((to - from).div_ceil(u128::from(units >> 20).max(1))).ok()?,
            })
        })
    }
}

/// A unit's beginning in parts of a unit, of which each column shows as many as there are units.
fn fine(unit: u64) -> u128 {
    u128::from(unit) * u128::from(COLUMNS)
}

/// `whole`, in the ratio of `part` to `all`.
pub(super) fn share(whole: u64, part: u64, all: u64) -> u64 {
    let share = u128::from(whole) * u128::from(part) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// The ranges that an operation writes, each with the number of blocks before it.
pub(super) fn destination(operation: &Operation) -> impl Iterator<Item = (u64, BlockRange)> + '_ {
    let mut before = 0_u64;
    operation.destination.iter().filter_map(move |extent| {
        let start = before;
        before = before.saturating_add(extent.count());
        match extent {
            Extent::Blocks(range) => Some((start, *range)),
            Extent::Hole(_) => None,
        }
    })
}

/// What an operation reads, from its first block to its last.
pub(super) struct Trail {
    /// Blocks before each run, and the run.
    runs: Vec<(u64, Run)>,
    blocks: u64,
}

impl Trail {
    pub(super) fn of(operation: &Operation) -> Self {
        let mut blocks = 0;
        let runs = operation.kind.source().map_or(&[][..], |source| &source.runs);
        let runs = runs.iter().map(|run| {
            let before = blocks;
            blocks += run.count();
            (before, *run)
        });
        Self {
            runs: runs.collect(),
            blocks,
        }
    }

    /// The blocks of an image that it reads.
    pub(super) fn ranges(&self) -> impl Iterator<Item = BlockRange> + '_ {
        self.runs.iter().filter_map(|(_, run)| match run {
            Run::Old(range) | Run::Target(range) => Some(*range),
            Run::Zeros(_) => None,
        })
    }

    /// The block of an image from which block `at` of a result of `len` blocks comes. That is exact
    /// for copies, and what it would be if all of a patch were alike.
    pub(super) fn old_block(&self, at: u64, len: u64) -> Option<u64> {
        let at = share(self.blocks, at, len);
        let next = self.runs.partition_point(|(before, _)| *before <= at);
        let (before, run) = self.runs.get(next.checked_sub(1)?)?;
        match run {
            Run::Old(range) | Run::Target(range) => Some(range.start() + (at - before)),
            Run::Zeros(_) => None,
        }
    }
}

/// An image by columns: how much of each is painted how.
#[derive(Default)]
pub(super) struct Strip(BTreeMap<u64, BTreeMap<Paint, u64>>);

impl Strip {
    pub(super) fn paint(&mut self, column: u64, paint: Paint, amount: u64) {
        let amounts = self.0.entry(column).or_default();
        let amount = amount.saturating_add(amounts.get(&paint).copied().unwrap_or(0));
        amounts.insert(paint, amount);
    }

    /// What most of these columns is.
    pub(super) fn most(&self, columns: Range<u64>) -> Option<Paint> {
        let mut amounts: BTreeMap<Paint, u64> = BTreeMap::new();
        for (paint, amount) in self.0.range(columns).flat_map(|(_, amounts)| amounts) {
            let all = amounts.entry(*paint).or_default();
            *all = all.saturating_add(*amount);
        }
        let most = amounts.into_iter().max_by_key(|(_, amount)| *amount);
        most.map(|(paint, _)| paint)
    }

    /// Columns in a row that are painted alike, each `height` high.
    pub(super) fn rows(&self, height: u64) -> Vec<ColumnRun> {
        let mut rows: Vec<ColumnRun> = Vec::new();
        for (column, amounts) in &self.0 {
            let parts = parts(amounts, height);
            let last = rows.last_mut();
            match last.filter(|row| row.first + row.count == *column && row.parts == parts) {
                Some(row) => row.count += 1,
                None => rows.push(ColumnRun {
                    first: *column,
                    count: 1,
                    parts,
                }),
            }
        }
        rows
    }
}

/// Neighbouring columns that look alike.
pub(super) struct ColumnRun {
    pub(super) first: u64,
    /// How many columns.
    pub(super) count: u64,
    /// Paints from above, each with its height.
    pub(super) parts: Vec<(Paint, u64)>,
}

/// The shares of `height`, which add up to it.
fn parts(amounts: &BTreeMap<Paint, u64>, height: u64) -> Vec<(Paint, u64)> {
    let all = amounts
        .values()
        .fold(0_u64, |sum, amount| sum.saturating_add(*amount));
    let (mut before, mut drawn, mut parts) = (0_u64, 0, Vec::new());
    for (paint, amount) in amounts {
        before = before.saturating_add(*amount);
        let end = share(height, before, all);
        if end > drawn {
            parts.push((*paint, end - drawn));
        }
        drawn = end;
    }
    parts
}

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
