//! The files of ext2, ext3 and ext4, and the blocks of each.
//!
//! A generator's input is its user's own image, and nothing is written by what is found here: a
//! file that was understood wrongly makes a delta larger, no more. So whatever is unusual counts as
//! unreadable, and the image is then compared by content alone. Still nothing is believed without
//! bounds, so that the time and memory of a walk are a multiple of the image's length, whatever is
//! in it: each inode is visited once, and there are limits to how many inodes there are, how many
//! blocks all files together name, and how long all paths are.

mod field;
mod inode;
mod superblock;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use self::inode::{BlockRun, Inode, Kind};
use self::superblock::Volume;
use super::blocks::{BlockList, Snapshot};
use crate::writer::section::BLOCK;

/// Blocks of 4 KiB by the path of the file that they belong to, in the file's order.
pub(super) type Files = BTreeMap<Vec<u8>, BlockList>;

/// The inode of the root directory.
const ROOT: u32 = 2;

/// Bytes of directories that are read at most: larger ones are listed by nobody.
const DIRECTORY: u64 = 16 << 20;

/// How often each block of an image may be named, on average. Files share blocks in images of
/// Android alone.
const SHARED: u64 = 4;

/// Why the files can't be told.
enum Trouble {
    /// The image can't be read.
    Read(io::Error),
    /// It is no file system of this kind, an unusual one, or a damaged one.
    Unusual,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// The files of `image`; `None` if it is no file system of this kind, or an unusual one.
pub(super) fn files(image: &Snapshot<'_>) -> io::Result<Option<Files>> {
    let found = unless_unusual(Walk::all(image))?;
    let blocks = |files: BTreeMap<_, FoundFile>| {
        let files = files.into_iter();
        files.map(|(path, file)| (path, file.blocks)).collect()
    };
    Ok(found.map(blocks))
}

/// `None` for what is unusual.
fn unless_unusual<T>(result: Result<T, Trouble>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Trouble::Unusual) => Ok(None),
        Err(Trouble::Read(error)) => Err(error),
    }
}

/// A file or directory that was found.
#[derive(Debug)]
struct FoundFile {
    inode: u32,
    kind: Kind,
    /// In bytes.
    size: u64,
    blocks: BlockList,
}

/// The files of an image with a file system of this kind, for generators that look into it.
#[derive(Debug)]
pub struct ImageFiles<'a> {
    volume: Volume<'a>,
    files: BTreeMap<Vec<u8>, FoundFile>,
}

impl<'a> ImageFiles<'a> {
    /// Those of `image`; `None` if it is no file system of this kind, or an unusual one.
    ///
    /// # Errors
    /// If the image can't be read.
    pub fn of(image: Snapshot<'a>) -> io::Result<Option<Self>> {
        let opened = Volume::open(&image).and_then(|volume| {
            let files = Walk::all(&image)?;
            Ok(Self { volume, files })
        });
        unless_unusual(opened)
    }

    /// Names of the files and directories in the directory at `path`, which begins with `/`,
    /// ascending; none if there is no such directory.
    pub fn names(&self, path: &[u8]) -> impl Iterator<Item = &[u8]> {
        let above = [path, b"/"].concat();
        let below = self.files.range(above.clone()..);
        below
            .map_while(move |(path, _)| path.strip_prefix(above.as_slice()))
            .filter(|name| !name.contains(&b'/'))
    }

    /// The content of the file at `path`, as long as its inode says; `None` if there is no such
    /// file, or one that has holes or more than `most` bytes.
    ///
    /// # Errors
    /// If the image can't be read.
    pub fn text(&self, path: &[u8], most: u64) -> io::Result<Option<Vec<u8>>> {
        let is_text = |file: &&FoundFile| file.kind == Kind::File && file.size <= most;
        let Some(file) = self.files.get(path).filter(is_text) else {
            return Ok(None);
        };
        Ok(unless_unusual(self.content(file))?.flatten())
    }

    /// The content of a file without holes. Its blocks are the file system's own: those of 4 KiB
    /// may hold another file's end.
    fn content(&self, file: &FoundFile) -> Result<Option<Vec<u8>>, Trouble> {
        let inode = Inode::read(&self.volume, file.inode)?;
        let runs = inode.runs(&self.volume, &mut self.volume.blocks())?;
        let count: u64 = runs.iter().map(|run| run.count).sum();
        if count != file.size.div_ceil(self.volume.block_size) {
            return Ok(None);
        }
        let mut content = Vec::new();
        for run in runs {
            content.extend(self.volume.read(run.start, run.count)?);
        }
        content.truncate(usize::try_from(file.size).unwrap_or(usize::MAX));
        Ok(Some(content))
    }
}

/// On the way through all directories.
struct Walk<'a> {
    volume: Volume<'a>,
    files: BTreeMap<Vec<u8>, FoundFile>,
    seen: BTreeSet<u32>,
    left: Vec<(u32, Vec<u8>)>,
    budget: WalkBudget,
}

/// What may still come.
struct WalkBudget {
    inodes: u64,
    /// Of the file system, named by all files, directories and their maps.
    blocks: u64,
    /// Bytes of all paths. Each file has an inode, which is longer than most paths.
    paths: u64,
}

/// Takes `count` off what is `left`.
fn spend(left: &mut u64, count: u64) -> Result<(), Trouble> {
    *left = left.checked_sub(count).ok_or(Trouble::Unusual)?;
    Ok(())
}

impl<'a> Walk<'a> {
    fn all(image: &Snapshot<'a>) -> Result<BTreeMap<Vec<u8>, FoundFile>, Trouble> {
        let volume = Volume::open(image)?;
        let mut walk = Self {
            budget: WalkBudget {
                inodes: volume.inode_room(),
                blocks: volume.blocks().saturating_mul(SHARED),
                paths: image.len(),
            },
            volume,
            files: BTreeMap::new(),
            seen: BTreeSet::from([ROOT]),
            left: vec![(ROOT, Vec::new())],
        };
        while let Some((number, path)) = walk.left.pop() {
            walk.visit(number, path)?;
        }
        Ok(walk.files)
    }

    fn visit(&mut self, number: u32, path: Vec<u8>) -> Result<(), Trouble> {
        spend(&mut self.budget.inodes, 1)?;
        let inode = Inode::read(&self.volume, number)?;
        let runs = inode.runs(&self.volume, &mut self.budget.blocks)?;
        if inode.kind == Kind::Directory {
            if inode.size > DIRECTORY {
                return Err(Trouble::Unusual);
            }
            for run in &runs {
                let content = self.volume.read(run.start, run.count)?;
                self.list(&content, &path)?;
            }
        }
        let file = FoundFile {
            inode: number,
            kind: inode.kind,
            size: inode.size,
            blocks: self.blocks(&runs),
        };
        self.files.insert(path, file);
        Ok(())
    }

    /// Remembers what blocks of a directory name: entries of inode (4 bytes), length (2), length of
    /// the name (1), type (1), name. No entry crosses a block; blocks of a directory's index look
    /// like entries that name nothing.
    fn list(&mut self, content: &[u8], path: &[u8]) -> Result<(), Trouble> {
        let mut at = 0;
        while let Some((entry, name)) = content.get(at..).and_then(<[u8]>::split_first_chunk::<8>) {
            let inode = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
            let len = usize::from(u16::from_le_bytes([entry[4], entry[5]]));
            let name = name.get(..usize::from(entry[6])).unwrap_or_default();
            let is_file = matches!(entry[7], 1 | 2);
            if inode != 0 && is_file && name != b"." && name != b".." && self.seen.insert(inode) {
                let path = [path, b"/", name].concat();
                spend(&mut self.budget.paths, path.len() as u64)?;
                self.left.push((inode, path));
            }
            at += len.max(8);
        }
        Ok(())
    }

    /// As blocks of 4 KiB, whatever the file system's are.
    fn blocks(&self, runs: &[BlockRun]) -> BlockList {
        let size = self.volume.block_size;
        let mut last = None;
        let each = runs.iter().flat_map(|run| {
            let (start, end) = (run.start * size, (run.start + run.count) * size);
            start / BLOCK..end.div_ceil(BLOCK)
        });
        each.filter(|block| last.replace(*block) != Some(*block))
            .collect()
    }
}

#[cfg(test)]
mod tests;
