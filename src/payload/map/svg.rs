//! The picture of a payload as SVG.

use std::fmt::Write as _;

use super::columns::{Band, Strip};
use super::{COLUMNS, Paint, Picture};

/// Pixels: margins, and heights of strips, of what is between them, and of lines of text.
const MARGIN: u64 = 24;
const STRIP: u64 = 28;
const BETWEEN: u64 = 130;
const LINE: u64 = 20;
const TITLE: u64 = 56;

const STYLE: &str = "<style>text{font:13px sans-serif;fill:#222}.t{font-size:17px;font-weight:600}\
    .d{fill:#666}.n{text-anchor:end}</style>";

/// The whole picture.
pub(super) fn draw(name: &str, size: u64, pictures: &[Picture]) -> String {
    let mut page = Canvas {
        body: String::new(),
        y: TITLE,
    };
    for picture in pictures {
        page.picture(picture);
    }
    let (width, height) = (COLUMNS + 2 * MARGIN, page.y);
    let title = format!("{name}: {}", human(size));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n{STYLE}\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text class=\"t\" x=\"{MARGIN}\" y=\"34\">{}</text>\n{}</svg>\n",
        escape(&title),
        page.body
    )
}

/// What was drawn, and how far down.
struct Canvas {
    body: String,
    y: u64,
}

impl Canvas {
    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string can't fail.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    fn picture(&mut self, picture: &Picture) {
        if picture.old_size > 0 {
            self.label(&format!("old {}", picture.title), picture.old_size);
            self.strip(&picture.old);
            self.bands(&picture.copies.widest(), Towards::Down);
        }
        // Between the bands there is no room for text above the strip.
        let middle = self.y;
        self.strip(&picture.new);
        if picture.data_size > 0 {
            self.bands(&picture.arrivals.widest(), Towards::Up);
            self.strip(&picture.data);
            self.label_below("download", picture.data_size);
        }
        self.inside(
            middle,
            &format!("new {}, {}", picture.title, human(picture.new_size)),
        );
        self.legend(picture);
        self.y += LINE;
    }

    /// A name at the left and a size at the right, on the line at `y`.
    fn caption(&mut self, y: u64, name: &str, size: u64) {
        let right = MARGIN + COLUMNS;
        self.put(format_args!(
            "<text x=\"{MARGIN}\" y=\"{y}\">{}</text>",
            escape(name)
        ));
        self.put(format_args!(
            "<text class=\"d n\" x=\"{right}\" y=\"{y}\">{}</text>",
            human(size)
        ));
    }

    fn label(&mut self, name: &str, size: u64) {
        self.y += LINE;
        self.caption(self.y - 6, name, size);
    }

    fn label_below(&mut self, name: &str, size: u64) {
        self.caption(self.y + 16, name, size);
        self.y += LINE;
    }

    /// On the strip that begins at `y`.
    fn inside(&mut self, y: u64, text: &str) {
        let (x, y) = (MARGIN + 6, y + STRIP / 2 + 5);
        let text = escape(text);
        self.put(format_args!(
            "<text x=\"{x}\" y=\"{y}\" stroke=\"#fff\" stroke-width=\"4\" stroke-linejoin=\"round\" \
             paint-order=\"stroke\">{text}</text>"
        ));
    }

    fn strip(&mut self, strip: &Strip) {
        let top = self.y;
        self.put(format_args!(
            "<rect x=\"{MARGIN}\" y=\"{top}\" width=\"{COLUMNS}\" height=\"{STRIP}\" fill=\"#f4f4f4\"/>"
        ));
        for row in strip.rows(STRIP) {
            let (x, width, mut y) = (MARGIN + row.first, row.count, top);
            for (paint, height) in row.parts {
                let colour = colour(paint);
                self.put(format_args!(
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{colour}\"/>"
                ));
                y += height;
            }
        }
        self.put(format_args!(
            "<rect x=\"{MARGIN}\" y=\"{top}\" width=\"{COLUMNS}\" height=\"{STRIP}\" fill=\"none\" stroke=\"#888\"/>"
        ));
        self.y += STRIP;
    }

    /// Bands over the room below what is drawn.
    fn bands(&mut self, bands: &[Band], towards: Towards) {
        let (top, bottom) = (self.y, self.y + BETWEEN);
        let middle = top.midpoint(bottom);
        for band in bands {
            let (above, below) = match towards {
                Towards::Down => (band.from, band.to),
                Towards::Up => (band.to, band.from),
            };
            let (a, d) = (MARGIN + above.0, MARGIN + above.1);
            let (b, c) = (MARGIN + below.0, MARGIN + below.1);
            let colour = colour(band.paint);
            self.put(format_args!(
                "<path d=\"M{a} {top}C{a} {middle} {b} {middle} {b} {bottom}H{c}C{c} {middle} {d} {middle} {d} \
                 {top}Z\" fill=\"{colour}\" fill-opacity=\".45\"/>"
            ));
        }
        self.y = bottom;
    }

    fn legend(&mut self, picture: &Picture) {
        self.y += LINE;
        let columns = [300, 440, 580];
        for (x, head) in columns.into_iter().zip([picture.counted, "makes", "downloads"]) {
            let y = self.y;
            self.put(format_args!(
                "<text class=\"d n\" x=\"{x}\" y=\"{y}\">{head}</text>"
            ));
        }
        for entry in &picture.legend {
            self.y += LINE;
            let (y, box_y, colour) = (self.y, self.y - 11, colour(entry.paint));
            let (name, x) = (entry.paint.name(), MARGIN + 20);
            self.put(format_args!(
                "<rect x=\"{MARGIN}\" y=\"{box_y}\" width=\"13\" height=\"13\" fill=\"{colour}\" stroke=\"#888\"/>\
                 <text x=\"{x}\" y=\"{y}\">{name}</text>"
            ));
            let values = [
                entry.operations.to_string(),
                human(entry.result),
                human(entry.data),
            ];
            for (x, value) in columns.into_iter().zip(values) {
                self.put(format_args!(
                    "<text class=\"n\" x=\"{x}\" y=\"{y}\">{value}</text>"
                ));
            }
        }
        self.y += LINE;
    }
}

/// Where bands lead, as they are drawn.
#[derive(Clone, Copy)]
enum Towards {
    Down,
    Up,
}

/// Colours that those who see few can tell apart.
fn colour(paint: Paint) -> &'static str {
    match paint {
        Paint::Copied("(left as it was)") => "#d6e6f2",
        Paint::Copied(_) => "#7fb4d8",
        Paint::Patched("BROTLI_BSDIFF") => "#f0a03c",
        Paint::Patched(_) => "#f2cf5b",
        Paint::Packed("REPLACE") => "#5b2a6e",
        Paint::Packed("REPLACE_BZ") => "#c2185b",
        Paint::Packed("REPLACE_ZSTD") => "#8e5bb0",
        Paint::Packed(_) => "#b04a3a",
        Paint::Zeros(_) => "#dcdcdc",
        Paint::Computed(_) => "#79a86b",
    }
}

/// Bytes as people read them.
fn human(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fitting = units.into_iter().find(|(shift, _)| bytes >> shift > 0);
    fitting.map_or_else(
        || format!("{bytes} B"),
        |(shift, unit)| {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        },
    )
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.chars().filter(|character| !character.is_control()).collect()
}
