//! The map of an image that is made of content, as text: each character is a part of the image, and
//! shows what most of that comes from; below it the counts.
//!
//! ```text
//!  partition, 24.0 MiB
//!  |....##....................#...   ======|
//!
//!       chunks        makes      fetched
//!  .     1,234     20.0 MiB            -  old image
//! ```

use std::fmt::Write as _;

use super::columns::COLUMNS;
use super::{Paint, Picture};
use crate::amounts::bytes;

/// Columns of the picture that one character shows, and columns in a line.
const EACH: usize = 5;
const LINE: usize = 55 * EACH;
const _: () = assert!(COLUMNS.is_multiple_of(LINE as u64));

/// All of `picture`.
pub(super) fn draw(picture: &Picture) -> String {
    let mut text = format!("{}, {}\n", picture.title, bytes(picture.new_size));
    // Writing to a string can't fail.
    for line in (0..COLUMNS).step_by(LINE) {
        let cells = (line..line + LINE as u64).step_by(EACH);
        let cells: String = cells
            .map(|first| picture.new.most(first..first + EACH as u64).map_or(' ', sign))
            .collect();
        let _ = writeln!(text, "|{cells}|");
    }
    let _ = writeln!(text, "\n{:>10} {:>12} {:>12}", "chunks", "makes", "fetched");
    for entry in &picture.legend {
        let (made, fetched) = (bytes(entry.result), bytes(entry.data));
        let (name, count) = (entry.paint.name(), entry.operations);
        let sign = sign(entry.paint);
        let _ = writeln!(text, "{count:>10} {made:>12} {fetched:>12}  {sign}  {name}");
    }
    text
}

/// Zeros are blank, as what is drawn for nothing.
const fn sign(paint: Paint) -> char {
    match paint {
        Paint::Copied(_) => '.',
        Paint::Patched(_) => '+',
        Paint::Packed(_) => '#',
        Paint::Zeros(_) => ' ',
        Paint::Computed(_) => '=',
    }
}
