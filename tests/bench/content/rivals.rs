//! What others would fetch of the same images: bytes alone, with their own tools where there are any.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use payload_format::Sha256Digest;
use serde::Serialize;

use super::pairs::Pair;
use super::{Outcome, shell};
use crate::shell::word;

/// Bytes that a node fetches by other means.
#[derive(Debug, Clone, Serialize)]
pub struct Rival {
    pub name: &'static str,
    pub bytes: u64,
}

/// Of one pair; `work` is for files of the moment.
pub fn measure(pair: &Pair, work: &Path) -> Outcome<Vec<Rival>> {
    fs::create_dir_all(work)?;
    let rivals = vec![
        Rival {
            name: "RAUC's index of 4 KiB blocks, simulated; blocks in packed pieces of 16 KiB",
            bytes: block_index(pair, work)?,
        },
        Rival {
            name: "casync 2, chunks as it makes them, packed with zstd",
            bytes: casync(pair, work)?,
        },
        Rival {
            name: "zchunk, as zck makes it",
            bytes: zchunk(pair, work)?,
        },
    ];
    fs::remove_dir_all(work)?;
    Ok(rivals)
}

const BLOCK: usize = 4096;
const PIECE: usize = 16 << 10;

/// Hands out a file by pieces, the last one with zeros behind it.
fn pieces(path: &Path, mut take: impl FnMut(&[u8]) -> Outcome) -> Outcome {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        piece.clear();
        file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(());
        }
        piece.resize(PIECE, 0);
        take(&piece)?;
    }
}

/// RAUC's adaptive updates take each 4 KiB block that the old image has anywhere, by an index of
/// SHA-256 hashes, which is fetched whole; it sends blocks raw. Here they are packed, which is kinder:
/// pieces of 16 KiB that miss a block are put into a squashfs, which packs each by itself.
fn block_index(pair: &Pair, work: &Path) -> Outcome<u64> {
    let mut known = HashSet::new();
    known.insert(Sha256Digest::of(&[0; BLOCK]));
    pieces(&pair.old, |piece| {
        known.extend(piece.chunks(BLOCK).map(Sha256Digest::of));
        Ok(())
    })?;
    let missing = work.join("missing");
    fs::create_dir_all(&missing)?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(missing.join("pieces"))?);
    let mut blocks = 0;
    pieces(&pair.new, |piece| {
        blocks += piece.len() / BLOCK;
        if piece
            .chunks(BLOCK)
            .any(|block| !known.contains(&Sha256Digest::of(block)))
        {
            out.write_all(piece)?;
        }
        Ok(())
    })?;
    out.flush()?;
    let packed = work.join("missing.squashfs");
    shell::run(&format!(
        "mksquashfs {} {} -comp zstd -Xcompression-level 9 -b 16384 -no-progress -quiet -noappend",
        word(&missing),
        word(&packed)
    ))?;
    let index = blocks * Sha256Digest::LEN;
    Ok(fs::metadata(packed)?.len() + index as u64)
}

/// Chunks of the new image's store that the old one's lacks, and the index.
fn casync(pair: &Pair, work: &Path) -> Outcome<u64> {
    let place = |name: &str| word(&work.join(name));
    let make = |version: &str, image: &Path| {
        shell::run(&format!(
            "casync make --compression=zstd --store={} {} {} >{}",
            place(&format!("{version}.castr")),
            place(&format!("{version}.caibx")),
            word(image),
            place("casync.log")
        ))
    };
    make("old", &pair.old)?;
    make("new", &pair.new)?;
    let list = |version: &str| {
        let store = place(&format!("{version}.castr"));
        format!("(cd {store} && find . -type f -printf '%P %s\\n' | sort)")
    };
    let count = format!(
        "comm -13 <({}) <({}) | awk '{{ sum += $2 }} END {{ printf \"%d\", sum }}'",
        list("old"),
        list("new")
    );
    let chunks: u64 = shell::output(&count)?.trim().parse()?;
    Ok(chunks + fs::metadata(work.join("new.caibx"))?.len())
}

/// As `zck_delta_size` counts: chunks that the old file lacks, and the header.
fn zchunk(pair: &Pair, work: &Path) -> Outcome<u64> {
    let place = |name: &str| word(&work.join(name));
    let told = shell::output(&format!(
        "zck -o {0} {1} && zck -o {2} {3} && zck_delta_size {0} {2}",
        place("old.zck"),
        word(&pair.old),
        place("new.zck"),
        word(&pair.new)
    ))?;
    let line = told.lines().find(|line| line.starts_with("Would download"));
    let number = line.and_then(|line| line.split_whitespace().nth(2));
    let number = number.ok_or_else(|| format!("zck_delta_size says {told}"))?;
    Ok(number.parse()?)
}
