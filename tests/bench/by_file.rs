//! Size of a delta that is made file by file, as the C++ generator makes it: files that did not
//! change are moved and cost nothing, those that did are the smaller of `bsdiff` and `bzip2 -9`,
//! new ones are `bzip2 -9`. The file system's own blocks (inodes, directories, bitmaps), which any
//! delta of an image has to bring, are one more such file. The manifest is left out.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use super::image::{self, Change, Images};
use super::workplace::Workplace;
use super::{Outcome, shell};

/// Bytes of the pair's delta.
pub fn delta(place: &Workplace, images: &Images) -> Outcome<u64> {
    let account = place.path("by_file.json");
    if place.reuse && account.exists() {
        return Ok(serde_json::from_slice(&fs::read(account)?)?);
    }
    println!("  a delta by file, with bsdiff and bzip2");
    let changes = image::changes(place)?;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = changes.len().div_ceil(workers).max(1);
    let sizes = thread::scope(|scope| {
        let threads: Vec<_> = changes
            .chunks(share)
            .map(|part| scope.spawn(|| sum(part).map_err(|error| error.to_string())))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread died".to_owned())?)
            .collect::<Result<Vec<u64>, String>>()
    })?;
    let bytes = sizes.iter().sum::<u64>() + of_file_system(images)?;
    fs::write(account, serde_json::to_vec(&bytes)?)?;
    Ok(bytes)
}

fn sum(changes: &[Change]) -> Outcome<u64> {
    let work = tempfile::tempdir()?;
    let mut bytes = 0;
    for change in changes {
        bytes += one(change, work.path())?;
    }
    Ok(bytes)
}

fn one(change: &Change, work: &Path) -> Outcome<u64> {
    let new = work.join("new");
    fs::write(&new, change.after()?)?;
    smallest(change.before(), &new, work)
}

/// Bytes of `new`, packed or as a patch of `old`.
fn smallest(old: Option<&Path>, new: &Path, work: &Path) -> Outcome<u64> {
    let (packed, patch) = (work.join("packed"), work.join("patch"));
    let [new, to] = [new, &packed].map(shell::word);
    shell::run(&format!("bzip2 -9c {new} > {to}"))?;
    let whole = fs::metadata(&packed)?.len();
    let Some(old) = old else {
        return Ok(whole);
    };
    let [old, to] = [old, &patch].map(shell::word);
    shell::run(&format!("bsdiff {old} {new} {to}"))?;
    Ok(whole.min(fs::metadata(&patch)?.len()))
}

/// Bytes of a delta between what both images hold beside the contents of files.
fn of_file_system(images: &Images) -> Outcome<u64> {
    let work = tempfile::tempdir()?;
    let [old, new] = [(&images.old, "old.meta"), (&images.new, "new.meta")]
        .map(|(image, name)| file_system_blocks(image, work.path(), name));
    smallest(Some(&old?), &new?, work.path())
}

/// A file with the blocks of `image` that hold no file's content, but for those that are zero.
fn file_system_blocks(image: &Path, work: &Path, name: &str) -> Outcome<PathBuf> {
    let (raw, packed) = (work.join("raw"), work.join(name));
    shell::run(&format!(
        "e2image -r {} {}",
        shell::word(image),
        shell::word(&raw)
    ))?;
    let (mut from, mut to) = (
        BufReader::with_capacity(1 << 20, File::open(&raw)?),
        BufWriter::new(File::create(&packed)?),
    );
    let mut block = [0; 4096];
    // The image is whole blocks.
    while !from.fill_buf()?.is_empty() {
        from.read_exact(&mut block)?;
        if block != [0; 4096] {
            to.write_all(&block)?;
        }
    }
    to.flush()?;
    fs::remove_file(raw)?;
    Ok(packed)
}
