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
