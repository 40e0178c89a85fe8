//! Two versions of an operating system's image, made of this machine's programs and libraries.
//!
//! Files below `/usr` in the order of a hash of their names fill 85 of 100 bytes of an ext2 image;
//! the rest stays zero. The newer version has, of 100 files, five rebuilt (a few bytes here and
//! there, and a piece inserted), one removed, and one new. The same machine gives the same images,
//! byte for byte.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::workplace::Workplace;
use super::{Outcome, shell};

/// Where programs and libraries lie.
const PLACES: [&str; 5] = ["/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/share"];

/// Longer files would make images of different machines too different.
const LONGEST: u64 = 48 << 20;

/// Of an image, in per cent.
const FULL: u64 = 85;

/// A piece of code that a compiler lays out anew, in bytes.
const STRIDE: usize = 32 << 10;

/// Both versions.
pub struct Images {
    pub old: PathBuf,
    pub new: PathBuf,
}

/// What became of a file from one version to the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Rebuilt,
    Removed,
    Added,
}

impl Fate {
    fn of(hash: u64) -> Self {
        match hash % 100 {
            0..5 => Self::Rebuilt,
            5 => Self::Removed,
            6 => Self::Added,
            _ => Self::Kept,
        }
    }
}

pub fn make(place: &Workplace) -> Outcome<Images> {
    println!("images of {} MiB, from files below /usr", place.size >> 20);
    let files = choose(place.size * FULL / 100)?;
    Ok(Images {
        old: place.once("old.img", |path| build(place, &files, path, Fate::Added))?,
        new: place.once("new.img", |path| build(place, &files, path, Fate::Removed))?,
    })
}

/// A file that is not the same in both versions.
pub struct Change(Chosen);

impl Change {
    /// Its path in the older version, if it has one.
    pub fn before(&self) -> Option<&Path> {
        (self.0.fate == Fate::Rebuilt).then_some(&self.0.path)
    }

    /// Its newer content.
    pub fn after(&self) -> Outcome<Vec<u8>> {
        let mut content = fs::read(&self.0.path)?;
        if self.0.fate == Fate::Rebuilt {
            rebuild(&mut content);
        }
        Ok(content)
    }
}

/// Those that the newer version has.
pub fn changes(place: &Workplace) -> Outcome<Vec<Change>> {
    let files = choose(place.size * FULL / 100)?.into_iter();
    let changed = files.filter(|file| matches!(file.fate, Fate::Rebuilt | Fate::Added));
    Ok(changed.map(Change).collect())
}

struct Chosen {
    path: PathBuf,
    fate: Fate,
}

/// Files of so many bytes together.
fn choose(bytes: u64) -> Outcome<Vec<Chosen>> {
    let mut found = Vec::new();
    for place in PLACES {
        find(Path::new(place), &mut found)?;
    }
    found.sort_unstable();
    let (mut left, mut chosen) = (bytes, Vec::new());
    for (hash, path, len) in found {
        // As much as it takes: whole blocks, and an inode.
        let Some(rest) = left.checked_sub(len.next_multiple_of(4096) + 256) else {
            return Ok(chosen);
        };
        left = rest;
        chosen.push(Chosen {
            path,
            fate: Fate::of(hash),
        });
    }
    Err(format!("the files below /usr are {left} bytes short of the image").into())
}

fn find(directory: &Path, found: &mut Vec<(u64, PathBuf, u64)>) -> Outcome {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries {
        let (path, kind) = entry.and_then(|e| Ok((e.path(), e.file_type()?)))?;
        if kind.is_dir() {
            find(&path, found)?;
        } else if kind.is_file() {
            let len = fs::metadata(&path)?.len();
            if len <= LONGEST && len > 0 {
                found.push((hash(path.as_os_str().as_encoded_bytes()), path, len));
            }
        }
    }
    Ok(())
}

/// FNV-1a: the same everywhere.
fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash ^ hash >> 32
}

/// The version without files of the fate `without`: `Added` makes the old one.
fn build(place: &Workplace, files: &[Chosen], out: &Path, without: Fate) -> Outcome {
    let stage = place.path("stage");
    for file in files.iter().filter(|file| file.fate != without) {
        copy(file, &stage, without == Fate::Removed)?;
    }
    File::create(out)?.set_len(place.size)?;
    let made = shell::run(&format!(
        "find {stage} -type d -exec touch -d @1700000000 {{}} + && \
         E2FSPROGS_FAKE_TIME=1700000000 mke2fs -q -F -t ext2 -b 4096 -m 0 -d {stage} \
         -U 6f5a0d5e-0000-4000-8000-000000000001 -E hash_seed=6f5a0d5e-0000-4000-8000-000000000002 {out} && \
         sync {out}",
        stage = shell::word(&stage),
        out = shell::word(&out)
    ));
    fs::remove_dir_all(&stage)?;
    made
}

fn copy(file: &Chosen, stage: &Path, newer: bool) -> Outcome {
    let inside = file.path.strip_prefix("/")?;
    let to = stage.join(inside);
    fs::create_dir_all(to.parent().unwrap_or(stage))?;
    let mut content = fs::read(&file.path)?;
    let rebuilt = newer && file.fate == Fate::Rebuilt;
    if rebuilt {
        rebuild(&mut content);
    }
    fs::write(&to, &content)?;
    let day = if rebuilt { 1_700_086_400 } else { 1_700_000_000 };
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(day);
    Ok(File::options().write(true).open(&to)?.set_modified(time)?)
}

/// As a rebuild of a slightly newer source would: addresses change everywhere, and something is
/// inserted.
fn rebuild(content: &mut Vec<u8>) {
    for address in content
        .chunks_mut(STRIDE)
        .filter_map(|piece| piece.get_mut(16..20))
    {
        for byte in address {
            *byte = byte.wrapping_add(64);
        }
    }
    let middle = content.len() / 3;
    let inserted = content
        .get(middle..)
        .and_then(|rest| rest.get(..64))
        .map(<[u8]>::to_vec);
    if let Some(inserted) = inserted {
        content.splice(middle..middle, inserted);
    }
}
