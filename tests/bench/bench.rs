//! How fast and how small, beside the tools that others use: one run makes an image of this
//! machine's files, packs it for every contestant, lets them install it in turn, round after round,
//! and writes medians and ratios to `docs/performance`.
//!
//! ```text
//!  files below /usr ──▶ old and new image ──▶ payloads, archives, bundles      once, timed
//!                                                     │
//!  round 1..n:  dd  sha256  bzip2|dd  lbzip2|dd  zstd|dd  RAUC  SWUpdate  the daemon with each payload
//!                                                     │
//!                      medians ──▶ the bars ──▶ Markdown, JSON, SVG
//! ```
//!
//! The daemon is the real one, with `--root` and `--disk`; the server is `update_payload serve`, a
//! process of its own. What every installer leaves is compared with the image, byte for byte.
#![allow(unreachable_pub, reason = "a program")]

mod archives;
mod arguments;
mod bars;
mod by_file;
mod content;
mod contest;
mod figures;
mod image;
mod large;
mod meter;
mod node;
mod packages;
mod peers;
mod process;
mod report;
mod resident;
mod shell;
mod workplace;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome {
    if arguments.content {
        return content::run(arguments);
    }
    packages::require()?;
    let place = workplace::Workplace::open(arguments)?;
    let images = image::make(&place)?;
    let archives = archives::pack(&place, &images)?;
    let mut rounds = contest::run(&place, &images, &archives, arguments)?;
    let resident = resident::measure(&place, &archives)?;
    let report = |rows| report::Report::new(arguments, &archives, rows, resident.clone());
    // Before what needs most room on the disk, and may fail for want of it.
    report(rounds.clone()).write(&arguments.out)?;
    if arguments.only.is_empty() {
        place.drop_targets()?;
        rounds.extend(large::run(&place, &images)?);
    }
    let report = report(rounds);
    report.write(&arguments.out)?;
    println!("\n{}", report.summary());
    Ok(())
}
