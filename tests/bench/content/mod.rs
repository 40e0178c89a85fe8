//! Content payloads: what a node fetches of a release by its content, beside the payload and what others
//! would fetch, on images made of two versions of real packages.
//!
//! ```text
//!  packages.txt ──▶ trees ──▶ pairs of images ──▶ payload, content payload     once, timed
//!                                   │                      │
//!                     casync, zchunk, RAUC's index    server ── line ── the daemon, on the old image
//!                     (bytes)                                    │
//!                                       bytes, requests, times ──▶ Markdown, JSON, SVG
//! ```

mod line;
mod pairs;
mod report;
mod rivals;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

use self::line::{Line, LineKind};
use self::pairs::{MONTH, MONTH_EXT4, NOTHING, PATCHED, Pair};
use self::report::Report;
use self::rivals::Rival;
use super::archives::Archive;
use super::arguments::Arguments;
use super::figures::Figures;
use super::node::{Node, Server};
use super::workplace::Workplace;
use super::{Outcome, meter, packages, shell};
use crate::shell::word;

/// What one installation took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Run {
    /// Of packages, with all heads of answers.
    pub bytes: u64,
    /// Requests for packages or ranges of them; those of the Omaha exchange don't count.
    pub requests: u64,
    pub figures: Figures,
}

/// What making a payload took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Made {
    pub bytes: u64,
    pub seconds: f64,
    pub peak_kib: u64,
}

impl Made {
    const fn of(archive: &Archive) -> Self {
        Self {
            bytes: archive.bytes,
            seconds: archive.seconds,
            peak_kib: archive.peak_kib,
        }
    }
}

/// What was measured of a pair.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub name: &'static str,
    pub format: &'static str,
    /// Bytes of the payload of version 2 with zstd: 100 %.
    pub payload: u64,
    pub content: Made,
    /// The daemon, which takes the content payload, over a line without delay.
    pub run: Run,
    pub must: Option<f64>,
    pub aim: Option<f64>,
    /// What others would fetch.
    pub rivals: Vec<Rival>,
}

/// The same update by payload and by content payload.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Times {
    pub payload: Figures,
    pub content: Figures,
}

pub fn run(arguments: &Arguments) -> Outcome {
    packages::require_content()?;
    let work = std::path::absolute(&arguments.work)?;
    fs::create_dir_all(&work)?;
    let pairs = pairs::make(arguments, &work)?;
    let mut report = Report::new();
    for pair in &pairs {
        println!("{}", pair.name);
        measure(arguments, pair, &mut report)?;
        // Whatever comes after may fail.
        report.write(&arguments.out)?;
    }
    println!("\n{}", report.summary());
    Ok(())
}

fn measure(arguments: &Arguments, pair: &Pair, report: &mut Report) -> Outcome {
    let size = fs::metadata(&pair.new)?.len();
    let place = Workplace::at(arguments, "content", size.next_multiple_of(1 << 20))?;
    let payload = payload(
        &place,
        pair,
        &format!("{}.payload", pair.format),
        "--compression zstd",
    )?;
    let name = pair.new.file_stem().ok_or("an image without a name")?;
    let (name, options) = if pair.name == PATCHED {
        let options = format!("--content --from {}", word(&pair.old));
        (format!("{}.patches", name.display()), options)
    } else {
        (format!("{}.content", name.display()), "--content".to_owned())
    };
    let content = self::payload(&place, pair, &name, &options)?;
    let run = update(&place, pair, (&payload, Some(&content)), LineKind::LOOPBACK)?;
    let rivals = match pair.name {
        MONTH | MONTH_EXT4 => rivals::measure(pair, &place.path("rivals"))?,
        _ => Vec::new(),
    };
    report.pairs.push(Measured {
        name: pair.name,
        format: pair.format,
        payload: payload.bytes,
        content: Made::of(&content),
        run,
        must: pair.must,
        aim: pair.aim,
        rivals,
    });
    let timed = |line| times(arguments, &place, pair, (&payload, &content), line);
    if pair.name == MONTH {
        report.month = Some(timed(LineKind::LOOPBACK)?);
        report.mobile = Some(timed(LineKind::MOBILE)?);
    }
    if pair.name == NOTHING {
        report.nothing = Some(timed(LineKind::LOOPBACK)?);
    }
    Ok(())
}

/// Updates in turns by payload and by content payload: of each the round that took the least time.
fn times(
    arguments: &Arguments,
    place: &Workplace,
    pair: &Pair,
    (payload, content): (&Archive, &Archive),
    line: LineKind,
) -> Outcome<Times> {
    let (mut by_payload, mut by_content) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        by_payload.push(update(place, pair, (payload, None), line)?.figures);
        by_content.push(update(place, pair, (payload, Some(content)), line)?.figures);
    }
    Ok(Times {
        payload: fastest(&by_payload)?,
        content: fastest(&by_content)?,
    })
}

fn fastest(rounds: &[Figures]) -> Outcome<Figures> {
    let fastest = rounds.iter().min_by(|a, b| a.wall.total_cmp(&b.wall));
    Ok(*fastest.ok_or("no round")?)
}

/// Makes a payload of a pair's new image and its kernel, once.
fn payload(place: &Workplace, pair: &Pair, name: &str, options: &str) -> Outcome<Archive> {
    let script = format!(
        "{} generate --format v2 {options} --new-image {} --new-kernel {} --private-key {} --out",
        word(&place.program("update_payload")?),
        word(&pair.new),
        word(&pair.kernel),
        word(&place.path("key.pem"))
    );
    place.make(name, &script)
}

/// Has a node that runs the pair's old image update itself.
fn update(
    place: &Workplace,
    pair: &Pair,
    (payload, content): (&Archive, Option<&Archive>),
    kind: LineKind,
) -> Outcome<Run> {
    place.drop_targets()?;
    let old = place.path("old.img");
    if old.symlink_metadata().is_ok() {
        fs::remove_file(&old)?;
    }
    std::os::unix::fs::symlink(&pair.old, &old)?;
    let (server, settings) = match content {
        Some(content) => (
            Server::with_content(place, payload, &content.path)?,
            "CONTENT_PAYLOADS=on\n",
        ),
        None => (Server::start(place, payload, None)?, ""),
    };
    let line = Line::open(kind, address(server.url())?)?;
    let mut node = Node::configured(place, &line.url(), settings)?;
    node.start()?;
    let figures = meter::daemon(node.process(), &node.files(), || node.check("NEED_REBOOT"))?;
    let (requests, bytes) = line.passed();
    is_installed(&node, place, &pair.new)?;
    node.stop()?;
    let run = Run {
        bytes,
        requests,
        figures,
    };
    println!("  {run:?}");
    Ok(run)
}

fn is_installed(node: &Node, place: &Workplace, image: &Path) -> Outcome {
    let padded = place.path("padded.img");
    shell::run(&format!("cp --sparse=always {} {}", word(image), word(&padded)))?;
    fs::File::options()
        .write(true)
        .open(&padded)?
        .set_len(place.size)?;
    node.expect_slot_b(&padded)?;
    Ok(fs::remove_file(padded)?)
}

fn address(url: &str) -> Outcome<SocketAddr> {
    let address = url.strip_prefix("http://").and_then(|url| url.split('/').next());
    Ok(address.ok_or("an odd URL")?.parse()?)
}
