//! The files of ext2, ext3 and ext4, and the blocks of each.
//!
//! A generator's input is its user's own image, and nothing is written by what is found here: a
//! file that was understood wrongly makes a delta larger, no more. So whatever is unusual counts as
//! unreadable, and the image is then compared by content alone. Still nothing is believed without
//! bounds: each inode is visited once, and no file is longer than the image.

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
    match Walk::all(image) {
        Ok(files) => Ok(Some(files)),
        Err(Trouble::Unusual) => Ok(None),
        Err(Trouble::Read(error)) => Err(error),
    }
}

/// The files of an image with a file system of this kind, for generators that look into it.
#[derive(Debug)]
pub struct ImageFiles<'a> {
    image: Snapshot<'a>,
    files: Files,
}

impl<'a> ImageFiles<'a> {
    /// Those of `image`; `None` if it is no file system of this kind, or an unusual one, such as
    /// one with blocks of less than 4 KiB, in which a file's last block is another one's, too.
    ///
    /// # Errors
    /// If the image can't be read.
    pub fn of(image: Snapshot<'a>) -> io::Result<Option<Self>> {
        match Volume::open(&image) {
            Ok(volume) if volume.block_size >= BLOCK => {}
            Ok(_) | Err(Trouble::Unusual) => return Ok(None),
            Err(Trouble::Read(error)) => return Err(error),
        }
        let files = files(&image)?;
        Ok(files.map(|files| Self { image, files }))
    }

    /// Paths of all files and directories, from `/` of the image on, ascending.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.files.keys().map(Vec::as_slice)
    }

    /// The text at `path`, without the zeros behind its end; `None` if there is no such file, or
    /// one with more than `most` blocks of 4 KiB.
    ///
    /// # Errors
    /// If the image can't be read.
    pub fn text(&self, path: &[u8], most: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(blocks) = self.files.get(path).filter(|blocks| blocks.count() <= most) else {
            return Ok(None);
        };
        let mut text = blocks.read(&self.image)?;
        let end = text
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        text.truncate(end);
        Ok(Some(text))
    }
}

/// On the way through all directories.
struct Walk<'a> {
    volume: Volume<'a>,
    files: Files,
    seen: BTreeSet<u32>,
    left: Vec<(u32, Vec<u8>)>,
}

impl<'a> Walk<'a> {
    fn all(image: &Snapshot<'a>) -> Result<Files, Trouble> {
        let mut walk = Self {
            volume: Volume::open(image)?,
            files: Files::new(),
            seen: BTreeSet::from([ROOT]),
            left: vec![(ROOT, Vec::new())],
        };
        while let Some((number, path)) = walk.left.pop() {
            walk.visit(number, path)?;
        }
        Ok(walk.files)
    }

    fn visit(&mut self, number: u32, path: Vec<u8>) -> Result<(), Trouble> {
        let inode = Inode::read(&self.volume, number)?;
        let runs = inode.runs(&self.volume)?;
        if inode.kind == Kind::Directory {
            if inode.size > DIRECTORY {
                return Err(Trouble::Unusual);
            }
            for run in &runs {
                let content = self.volume.read(run.start, run.count)?;
                self.list(&content, &path);
            }
        }
        self.files.insert(path, self.blocks(&runs));
        Ok(())
    }

    /// Remembers what blocks of a directory name: entries of inode (4 bytes), length (2), length of
    /// the name (1), type (1), name. No entry crosses a block; blocks of a directory's index look
    /// like entries that name nothing.
    fn list(&mut self, content: &[u8], path: &[u8]) {
        let mut at = 0;
        while let Some((entry, name)) = content.get(at..).and_then(<[u8]>::split_first_chunk::<8>) {
            let inode = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
            let len = usize::from(u16::from_le_bytes([entry[4], entry[5]]));
            let name = name.get(..usize::from(entry[6])).unwrap_or_default();
            let is_file = matches!(entry[7], 1 | 2);
            if inode != 0 && is_file && name != b"." && name != b".." && self.seen.insert(inode) {
                self.left.push((inode, [path, b"/", name].concat()));
            }
            at += len.max(8);
        }
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
