//! The results: a table of bars, of pairs and of others; as Markdown, JSON and a picture.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::pairs::{MONTH, PACKAGES, PATCHED};
use super::{Measured, Outcome, Times};
use crate::bars::float;
use crate::report::Machine;

#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub pairs: Vec<Measured>,
    /// The month's update without delay.
    pub month: Option<Times>,
    /// Likewise, where all of the content payload is fetched.
    pub nothing: Option<Times>,
    /// The month's at 50 Mbit/s with 40 ms before each request.
    pub mobile: Option<Times>,
}

/// What has to be reached: at most `must`, better `aim`.
struct Bar {
    what: String,
    value: f64,
    must: Option<f64>,
    aim: Option<f64>,
    unit: &'static str,
}

impl Bar {
    fn verdict(&self) -> &'static str {
        let within = |limit: Option<f64>| limit.is_some_and(|limit| self.value <= limit);
        match (within(self.must), within(self.aim)) {
            (_, true) => "aim met",
            (true, false) => "met",
            (false, false) if self.must.is_some() => "not met",
            (false, false) => "measured",
        }
    }
}

const MIB: f64 = (1 << 20) as f64;

impl Report {
    pub fn new() -> Self {
        Self {
            machine: Machine::this(),
            pairs: Vec::new(),
            month: None,
            nothing: None,
            mobile: None,
        }
    }

    pub fn write(&self, out: &Path) -> Outcome {
        fs::create_dir_all(out)?;
        fs::write(
            out.join("content.json"),
            serde_json::to_string_pretty(self)? + "\n",
        )?;
        fs::write(out.join("content.md"), self.markdown())?;
        Ok(fs::write(out.join("content.svg"), self.picture())?)
    }

    pub fn summary(&self) -> String {
        let mut text = String::new();
        for bar in self.bars() {
            let verdict = bar.verdict();
            let _ = writeln!(text, "{}: {:.2} {} ({verdict})", bar.what, bar.value, bar.unit);
        }
        text
    }

    fn bars(&self) -> Vec<Bar> {
        let mut bars: Vec<Bar> = self
            .pairs
            .iter()
            .map(|pair| Bar {
                what: format!("{}: bytes, of the payload", pair.name),
                value: pair.per_cent(pair.run.bytes),
                must: pair.must,
                aim: pair.aim,
                unit: "%",
            })
            .collect();
        if let Some(month) = self.pairs.iter().find(|pair| pair.name == MONTH) {
            bars.extend(of_month(month));
        }
        if let Some(patched) = self.pairs.iter().find(|pair| pair.name == PATCHED) {
            bars.extend(of_patched(patched));
        }
        bars.extend(self.times());
        bars
    }

    fn times(&self) -> Vec<Bar> {
        let mut bars = Vec::new();
        let mut push = |what: &str, value, must, aim, unit| {
            bars.push(Bar {
                what: what.to_owned(),
                value,
                must: Some(must),
                aim,
                unit,
            });
        };
        if let Some(Times { payload, content }) = self.mobile {
            let ratio = content.wall / payload.wall;
            push(
                "wall of the month's update at 50 Mbit/s and 40 ms, of the payload's",
                ratio,
                0.45,
                Some(0.35),
                "×",
            );
        }
        if let Some(Times { payload, content }) = self.nothing {
            let ratio = content.wall / payload.wall;
            push(
                "wall on loopback, everything fetched, of the payload's",
                ratio,
                2.5,
                Some(1.8),
                "×",
            );
        }
        if let Some(Times { payload, content }) = self.month {
            let more = content.cpu - payload.cpu;
            push("processor time beyond the payload's", more, 15.0, None, "s");
        }
        bars
    }

    fn markdown(&self) -> String {
        let mut text = "# Content payloads, measured\n\nWritten by `bench --content`; \
             [README.md](README.md#content-payloads) says how.\n\n"
            .to_owned();
        let Machine {
            processor,
            cores,
            memory_mib,
            kernel,
        } = &self.machine;
        let _ = writeln!(
            text,
            "{cores} cores of {processor}, {memory_mib} MiB, Linux {kernel}.\n"
        );
        text += "| | measured | must | aim | |\n|---|---|---|---|---|\n";
        let limit = |limit: Option<f64>| limit.map_or_else(String::new, |limit| format!("{limit}"));
        for bar in self.bars() {
            let (must, aim) = (limit(bar.must), limit(bar.aim));
            let _ = writeln!(
                text,
                "| {} | {:.2} {} | {must} | {aim} | {} |",
                bar.what,
                bar.value,
                bar.unit,
                bar.verdict()
            );
        }
        self.tables(&mut text);
        let _ = write!(
            text,
            "\n![Bytes by method and image format](content.svg)\n\n## Packages\n\n```text\n{PACKAGES}```\n"
        );
        text
    }

    /// Of pairs, and of what others fetch.
    fn tables(&self, text: &mut String) {
        *text += "\n| from one image to the other | payload | fetched | % | requests | wall | CPU | peak memory |\n\
                 |---|---|---|---|---|---|---|---|\n";
        for pair in &self.pairs {
            let figures = pair.run.figures;
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.2} | {} | {:.1} s | {:.1} s | {:.0} MiB |",
                pair.name,
                pair.payload,
                pair.run.bytes,
                pair.per_cent(pair.run.bytes),
                pair.run.requests,
                figures.wall,
                figures.cpu,
                float(figures.peak_kib) / 1024.0
            );
        }
        self.times_table(text);
        *text += "\n| what others fetch (no payload's signatures, no kernel beside the image) | pair | bytes | % |\n\
                 |---|---|---|---|\n";
        for (pair, rival) in self
            .pairs
            .iter()
            .flat_map(|pair| pair.rivals.iter().map(move |rival| (pair, rival)))
        {
            let per_cent = pair.per_cent(rival.bytes);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {per_cent:.2} |",
                rival.name, pair.name, rival.bytes
            );
        }
    }

    /// The same update by payload and by content payload.
    fn times_table(&self, text: &mut String) {
        *text += "\n| time, fastest of the rounds | payload | CPU | content payload | CPU | wall |\n|---|---|---|---|---|---|\n";
        for (name, times) in [
            ("a month, loopback", self.month),
            ("a month, 50 Mbit/s and 40 ms", self.mobile),
            ("everything fetched, loopback", self.nothing),
        ] {
            let Some(Times { payload, content }) = times else {
                continue;
            };
            let _ = writeln!(
                text,
                "| {name} | {:.1} s | {:.1} s | {:.1} s | {:.1} s | {:.2} × |",
                payload.wall,
                payload.cpu,
                content.wall,
                content.cpu,
                content.wall / payload.wall
            );
        }
    }

    /// A bar for each method and image format, in per cent of the payload.
    fn picture(&self) -> String {
        const ROW: usize = 22;
        const LEFT: usize = 480;
        let mut rows = Vec::new();
        for pair in &self.pairs {
            rows.push((
                format!("{}: content payload", pair.name),
                pair.per_cent(pair.run.bytes),
                "#2563a8",
            ));
            for rival in &pair.rivals {
                let name = rival.name.split([',', ' ']).next().unwrap_or_default();
                rows.push((
                    format!("{}: {name}", pair.name),
                    pair.per_cent(rival.bytes),
                    "#b8c9dc",
                ));
            }
        }
        let height = 50 + ROW * rows.len();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"{height}\" viewBox=\"0 0 960 {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"10\" y=\"22\" font-size=\"15\">Bytes fetched, in per cent of the payload (version 2, zstd)</text>\n"
        );
        for (number, (name, value, colour)) in rows.iter().enumerate() {
            let y = 40 + ROW * number;
            let name = name.replace('&', "&amp;");
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{value:.1}</text>",
                LEFT - 8,
                y + 12,
                value * 4.0,
                value.mul_add(4.0, 486.0),
                y + 12
            );
        }
        svg + "</svg>\n"
    }
}

impl Measured {
    fn per_cent(&self, bytes: u64) -> f64 {
        100.0 * float(bytes) / float(self.payload)
    }
}

/// Bars beside the bytes.
fn of_month(month: &Measured) -> Vec<Bar> {
    let bar = |what: &str, value, must, aim, unit| Bar {
        what: what.to_owned(),
        value,
        must: Some(must),
        aim,
        unit,
    };
    let mut bars = vec![
        bar(
            "a month: requests",
            float(month.run.requests),
            500.0,
            Some(150.0),
            "",
        ),
        bar(
            "peak memory of the daemon",
            float(month.run.figures.peak_kib) / 1024.0,
            64.0,
            None,
            "MiB",
        ),
        bar("generator, wall", month.content.seconds / 60.0, 4.0, None, "min"),
        bar(
            "generator, peak memory",
            float(month.content.peak_kib) * 1024.0 / MIB,
            1024.0,
            None,
            "MiB",
        ),
    ];
    if let Some(best) = month.rivals.iter().map(|rival| rival.bytes).min() {
        let ratio = float(month.run.bytes) / float(best);
        bars.push(bar(
            "a month: bytes, of the best of the others",
            ratio,
            0.5,
            Some(0.42),
            "×",
        ));
    }
    bars
}

/// What patches cost beside the bytes.
fn of_patched(patched: &Measured) -> [Bar; 3] {
    let bar = |what: &str, value, must, unit| Bar {
        what: format!("a month with a patch: {what}"),
        value,
        must: Some(must),
        aim: None,
        unit,
    };
    let peak = float(patched.run.figures.peak_kib) / 1024.0;
    [
        bar("requests", float(patched.run.requests), 500.0, ""),
        bar("peak memory of the daemon", peak, 64.0, "MiB"),
        bar("generator, wall", patched.content.seconds / 60.0, 4.0, "min"),
    ]
}
