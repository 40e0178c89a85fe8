//! The same once more with an image of four times the size: memory must not depend on it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

use super::archives;
use super::contest::{self, Row};
use super::image::Images;
use super::workplace::Workplace;
use super::{Outcome, shell};

/// How many times the size.
pub const TIMES: u8 = 4;

/// One installation of each kind, of images that hold those of the contest several times, each time
/// with other bytes. A full one is of version 1: its decoder takes most memory.
pub fn run(place: &Workplace, images: &Images) -> Outcome<Vec<Row>> {
    println!("an image {TIMES} times as large");
    let large = place.larger(TIMES)?;
    let images = Images {
        old: large.once("old.img", |path| repeat(&images.old, path))?,
        new: large.once("new.img", |path| repeat(&images.new, path))?,
    };
    let v1 = archives::generate(&large, &images, "v1.payload", "--format v1")?;
    let delta = archives::delta(&large, &images)?;
    let rows = contest::large(&large, &images, [v1, delta]);
    shell::run(&format!("rm -r {}", shell::word(&large.path(""))))?;
    rows
}

fn repeat(image: &Path, out: &Path) -> Outcome {
    let mut out = BufWriter::new(File::create(out)?);
    let mut piece = vec![0; 1 << 20];
    for mask in 0..TIMES {
        let mut image = BufReader::new(File::open(image)?);
        // Images are whole MiB.
        while image.read_exact(&mut piece).is_ok() {
            for byte in &mut piece {
                *byte ^= mask;
            }
            out.write_all(&piece)?;
        }
    }
    out.flush()?;
    Ok(out.get_ref().sync_all()?)
}
