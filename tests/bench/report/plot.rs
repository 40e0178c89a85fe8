//! Bars of wall time and of processor time.

use std::fmt::Write as _;

use super::{Contestant, Report};
use crate::bars::float;

const ROW: u64 = 34;
const LEFT: u64 = 230;
const WIDTH: u64 = 560;
const TOP: u64 = 60;

pub fn of(report: &Report) -> String {
    let installers: Vec<&Contestant> = report
        .contestants
        .iter()
        .filter(|one| one.download > 0 && !one.name.ends_with("large"))
        .collect();
    let longest = installers
        .iter()
        .map(|contestant| contestant.median.wall.max(contestant.median.cpu))
        .fold(0.1, f64::max);
    let height = TOP + ROW * installers.len() as u64 + 20;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{height}\" viewBox=\"0 0 {0} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">Installing an image of {1} MiB on {2} cores, seconds</text>\n\
         <rect x=\"{LEFT}\" y=\"34\" width=\"12\" height=\"10\" fill=\"#2563a8\"/><text x=\"{3}\" y=\"44\">wall</text>\n\
         <rect x=\"{4}\" y=\"34\" width=\"12\" height=\"10\" fill=\"#b8c9dc\"/><text x=\"{5}\" y=\"44\">processor</text>\n",
        LEFT + WIDTH + 80,
        report.image_bytes >> 20,
        report.machine.cores,
        LEFT + 18,
        LEFT + 70,
        LEFT + 88,
    );
    let mut y = TOP;
    for contestant in installers {
        draw(&mut svg, contestant, y, longest);
        y += ROW;
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, contestant: &Contestant, y: u64, longest: f64) {
    let name = contestant.name.replace('&', "&amp;").replace('<', "&lt;");
    let weight = if name.starts_with("update_engine") {
        "bold"
    } else {
        "normal"
    };
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-weight=\"{weight}\">{name}</text>",
        LEFT - 10,
        y + 17
    );
    let bars = [
        (contestant.median.wall, "#2563a8", y + 2),
        (contestant.median.cpu, "#b8c9dc", y + 15),
    ];
    for (seconds, colour, y) in bars {
        let width = seconds / longest * float(WIDTH);
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"11\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\" font-size=\"11\">{seconds:.2}</text>",
            float(LEFT) + width + 5.0,
            y + 10
        );
    }
}
