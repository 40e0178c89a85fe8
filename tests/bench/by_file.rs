//! What a delta takes that is made file by file, as the C++ generator does it: files that did not
//! change are moved and cost nothing, those that did are the smaller of `bsdiff` and `bzip2 -9`,
//! new ones are `bzip2 -9`. Names, inodes and the manifest are left out: it would be larger by
//! those.

use std::fs;
use std::path::Path;
use std::thread;

use super::image::{self, Change};
use super::workplace::Workplace;
use super::{Outcome, shell};

/// Bytes of the pair's delta.
pub fn delta(place: &Workplace) -> Outcome<u64> {
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
    let bytes: u64 = sizes.iter().sum();
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
    let (new, packed) = (work.join("new"), work.join("packed"));
    fs::write(&new, change.after()?)?;
    shell::run(&format!(
        "bzip2 -9c {} > {}",
        shell::word(&new),
        shell::word(&packed)
    ))?;
    let whole = fs::metadata(&packed)?.len();
    let Some(old) = change.before() else {
        return Ok(whole);
    };
    let patch = work.join("patch");
    shell::run(&format!(
        "bsdiff {} {} {}",
        shell::word(&old),
        shell::word(&new),
        shell::word(&patch)
    ))?;
    Ok(whole.min(fs::metadata(&patch)?.len()))
}
