//! File systems, made from files without mounting.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::command::{as_root, is_root, run, tool};

const BLOCK: u64 = 4096;
/// Bytes of files for each byte of inodes: mke2fs makes one of 256 bytes for each 4 KiB.
const FILES_PER_INODES: u64 = 16;
/// Bytes of an image beside files and inodes.
const ROOM: u64 = 3 << 20;
/// Same time and identifiers in every image, so that equal releases are equal bytes.
const EPOCH: &str = "1700000000";
const IDENTIFIER: &str = "6d1f5a52-8a53-4e0c-9d4c-6f2b6f6c7a11";

/// Makes an image of `kind` with the files of `tree`.
pub(super) fn image(image: &Path, tree: &Path, kind: &str, len: u64) -> Result<()> {
    let _ = fs::remove_file(image);
    let mut make = as_root("mke2fs");
    make.env("E2FSPROGS_FAKE_TIME", EPOCH)
        .args(["-q", "-F", "-t", kind, "-b", "4096", "-m", "0", "-U", IDENTIFIER])
        .arg("-E")
        .arg(format!("hash_seed={IDENTIFIER},root_owner=0:0"))
        .arg("-d")
        .arg(tree)
        .arg(image)
        .arg(format!("{}k", len >> 10));
    run(&mut make).map(drop)
}

/// Makes a btrfs of the files of `tree`, compressed with zstd by this machine's kernel. Its
/// identifier is another one each time: a kernel takes two file systems with one for the same.
///
/// # Errors
/// Only root may mount it.
pub(super) fn btrfs(image: &Path, tree: &Path, len: u64) -> Result<()> {
    let file = File::create(image).with_context(|| format!("cannot make {}", image.display()))?;
    file.set_len(len)?;
    run(tool("mkfs.btrfs")
        .args(["-q", "--mixed", "-m", "single", "-d", "single"])
        .arg(image))?;
    ensure!(is_root(), "only root can mount a btrfs, to fill it");
    let root = tempfile::tempdir()?;
    // In a mount namespace of its own: nothing stays mounted, whatever happens.
    let script = r#"mount -o loop,compress-force=zstd:3 "$0" "$1" && cp -a "$2/." "$1" && umount "$1""#;
    run(tool("unshare")
        .args(["--mount", "sh", "-c", script])
        .args([image, root.path(), tree]))
    .map(drop)
}

/// Bytes of an image that holds the files of `tree` and little more.
pub(super) fn least(tree: &Path) -> Result<u64> {
    let files = size(tree)?;
    Ok((files + files / FILES_PER_INODES + ROOM).next_multiple_of(1 << 20))
}

/// Bytes that the files of `tree` take in an image.
fn size(tree: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(tree).with_context(|| format!("cannot list {}", tree.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += metadata.len().next_multiple_of(BLOCK);
        if metadata.is_dir() {
            bytes += size(&entry.path())?;
        }
    }
    Ok(bytes)
}
