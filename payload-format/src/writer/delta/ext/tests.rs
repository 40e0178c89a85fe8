//! File systems made by `mke2fs`.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use super::*;
use crate::apply::ReadBlocks;

struct Memory(Vec<u8>);

impl ReadBlocks for Memory {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let bytes = self.0.get(start..start + buf.len());
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Words that tell where in which file they stand.
fn content(seed: u32, len: u32) -> Vec<u8> {
    let words = (0..len / 4).flat_map(|at| (at.wrapping_mul(seed) ^ at).to_le_bytes());
    words.collect()
}

fn contents() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("/small", content(3, 5000)),
        ("/share/deep/one", content(5, 300_000)),
        // Past the first table of tables, with blocks of 1 KiB.
        ("/share/large", content(7, 3_000_000)),
        ("/empty", Vec::new()),
    ]
}

fn image(kind: &str, block_size: &str) -> Memory {
    let directory = tempfile::tempdir().unwrap();
    let (tree, image) = (directory.path().join("tree"), directory.path().join("image"));
    for (path, content) in contents() {
        let path = tree.join(&path[1..]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    for number in 0..300 {
        std::fs::write(tree.join(format!("share/deep/{number}")), [1]).unwrap();
    }
    let mke2fs = ["/usr/sbin/mke2fs", "/sbin/mke2fs"];
    let mke2fs = mke2fs.into_iter().find(|path| Path::new(path).exists()).unwrap();
    let made = Command::new(mke2fs)
        .args(["-q", "-t", kind, "-b", block_size, "-d"])
        .args([&tree, &image])
        .arg("16M")
        .status();
    assert!(made.unwrap().success());
    Memory(std::fs::read(image).unwrap())
}

#[test]
fn every_file_is_found_where_its_content_is() {
    for kind in ["ext2", "ext3", "ext4"] {
        for block_size in ["1024", "4096"] {
            let image = image(kind, block_size);
            let snapshot = Snapshot::new(&image, image.0.len() as u64);
            let files = files(&snapshot).unwrap().unwrap();
            for (path, content) in contents() {
                let blocks = &files[path.as_bytes()];
                let found = blocks.read(&snapshot).unwrap();
                if block_size == "4096" {
                    assert!(found.starts_with(&content), "{kind}: {path}");
                }
                // Blocks of 4 KiB may begin with the end of another file.
                let least = content.len() as u64 / BLOCK;
                let count = blocks.count();
                assert!(
                    (least..=least + 16).contains(&count),
                    "{kind}, {block_size}: {path} {count}"
                );
                let whole = content.get(..1024).unwrap_or_default();
                assert!(
                    found.chunks(1024).take(8).any(|chunk| chunk == whole) || content.is_empty(),
                    "{kind}, {block_size}: {path}"
                );
            }
            assert!(files.contains_key(&b"/share/deep/299"[..]));
        }
    }
}

#[test]
fn what_is_no_file_system_or_a_damaged_one_has_no_files() {
    for len in [0, 100, 4096, 1 << 20] {
        let noise = Memory(content(11, len));
        assert!(files(&Snapshot::new(&noise, len.into())).unwrap().is_none());
    }
    let whole = image("ext4", "4096");
    let len = whole.0.len() as u64;
    // Wherever it is damaged, there is an answer.
    for at in (1024..64 << 10).step_by(37) {
        let mut damaged = Memory(whole.0.clone());
        damaged.0[at] ^= 0xff;
        let _ = files(&Snapshot::new(&damaged, len)).unwrap();
    }
}

/// Place of the inode that the file at this path has.
fn inode_of(image: &Memory, path: &str) -> usize {
    let snapshot = Snapshot::new(image, image.0.len() as u64);
    let volume = Volume::open(&snapshot).unwrap_or_else(|_| panic!("no file system"));
    // Its size tells it from all others.
    let (_, content) = contents().into_iter().find(|(of, _)| *of == path).unwrap();
    let size = u32::try_from(content.len()).unwrap();
    let mut numbers = 11..600;
    let number = numbers.find(|number| {
        let inode = volume.inode(*number).unwrap_or([0; 128]);
        inode[4..8] == size.to_le_bytes()
    });
    let inode = volume.inode(number.unwrap()).unwrap_or([0; 128]);
    let mut places = image.0.windows(inode.len());
    places.position(|bytes| bytes == inode).unwrap()
}

#[test]
fn a_text_is_as_long_as_its_inode_says() {
    for (kind, block_size) in [
        ("ext2", "1024"),
        ("ext2", "4096"),
        ("ext4", "1024"),
        ("ext4", "4096"),
    ] {
        let case = format!("{kind} with blocks of {block_size}");
        let mut image = image(kind, block_size);
        let len = image.0.len() as u64;
        let text = |image: &Memory, path: &str, most| {
            let files = ImageFiles::of(Snapshot::new(image, len)).unwrap().expect(&case);
            files.text(path.as_bytes(), most).unwrap()
        };
        for (path, content) in contents() {
            assert_eq!(text(&image, path, 4 << 20), Some(content), "{case}: {path}");
        }
        let small = contents().remove(0).1;
        assert_eq!(text(&image, "/small", 4999), None, "{case}");
        assert_eq!(text(&image, "/share", 1 << 20), None, "{case}: a directory");
        // Whatever is behind its end in its last block, zeros included.
        let at = inode_of(&image, "/small");
        image.0[at + 4..at + 8].copy_from_slice(&4998_u32.to_le_bytes());
        assert_eq!(text(&image, "/small", 5000).as_deref(), small.get(..4998));
        image.0[at + 4..at + 8].copy_from_slice(&9000_u32.to_le_bytes());
        assert_eq!(
            text(&image, "/small", 10_000),
            None,
            "{case}: longer than its blocks"
        );
    }
}

#[test]
fn names_are_those_of_one_directory() {
    let image = image("ext4", "4096");
    let files = ImageFiles::of(Snapshot::new(&image, image.0.len() as u64));
    let files = files.unwrap().unwrap();
    let names = |path: &str| -> Vec<String> {
        let names = files.names(path.as_bytes());
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    };
    assert_eq!(names(""), ["empty", "lost+found", "share", "small"]);
    assert_eq!(names("/share"), ["deep", "large"]);
    assert_eq!(names("/share/de"), [""; 0]);
    assert_eq!(names("/small"), [""; 0]);
}

/// A hostile image's inodes could each name the same blocks again and again.
#[test]
fn files_that_are_longer_than_their_image_together_are_not_walked_through() {
    let mut image = image("ext4", "4096");
    let at = inode_of(&image, "/share/large") + 40;
    let block = u32::from_le_bytes(image.0[at + 20..at + 24].try_into().unwrap());
    let len = image.0.len() as u64;
    // Four extents of which each is as long as the image has room for behind that block.
    let count = u16::try_from(len / 4096 - u64::from(block)).unwrap();
    image.0[at + 2..at + 4].copy_from_slice(&4_u16.to_le_bytes());
    for extent in 0..4 {
        let at = at + 12 + 12 * extent;
        image.0[at..at + 12].fill(0);
        image.0[at + 4..at + 6].copy_from_slice(&count.to_le_bytes());
        image.0[at + 8..at + 12].copy_from_slice(&block.to_le_bytes());
    }
    let walked = |image: &Memory| files(&Snapshot::new(image, len)).unwrap().is_some();
    assert!(walked(&image), "shared blocks are no reason");
    // A node of 340 such extents, which the inode names four times.
    let own = image.0.clone();
    let (_, other) = contents().remove(1);
    let place = own.windows(64).position(|bytes| bytes == &other[..64]).unwrap();
    let node = u32::try_from(place / 4096).unwrap();
    image.0[at + 6..at + 8].copy_from_slice(&4_u16.to_le_bytes());
    image.0[place..place + 4096].fill(0);
    for (at, entries, depth) in [(at, 4_u16, 4_u16), (place, 340, 0)] {
        image.0[at..at + 2].copy_from_slice(&0xf30a_u16.to_le_bytes());
        image.0[at + 2..at + 4].copy_from_slice(&entries.to_le_bytes());
        image.0[at + 6..at + 8].copy_from_slice(&depth.to_le_bytes());
        for entry in 0..usize::from(entries) {
            let at = at + 12 + 12 * entry;
            image.0[at..at + 12].fill(0);
            if depth > 0 {
                image.0[at + 4..at + 8].copy_from_slice(&node.to_le_bytes());
            } else {
                image.0[at + 4..at + 6].copy_from_slice(&count.to_le_bytes());
                image.0[at + 8..at + 12].copy_from_slice(&block.to_le_bytes());
            }
        }
    }
    assert!(!walked(&image));
}
