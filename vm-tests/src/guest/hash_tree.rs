//! A dm-verity hash tree behind a file system, as `veritysetup format` makes it: by an
//! implementation that shares no code with the daemon's.
//!
//! Source: cryptsetup's wiki page `DMVerity`. Type 1, SHA-256, blocks of 4 KiB; the top level first.

use sha2::{Digest as _, Sha256};

const BLOCK: usize = 4096;
const SALT: &[u8] = b"vm-tests";
const SALT_LEN: u8 = 8;

/// Appends superblock and tree to `image`, whose length is a multiple of 4 KiB and more than one
/// block; gives the root hash.
pub(super) fn append(image: &mut Vec<u8>) -> [u8; 32] {
    let data_blocks = image.len() / BLOCK;
    let mut levels = vec![level_above(image)];
    while let Some(level) = levels.last().filter(|level| level.len() > BLOCK) {
        levels.push(level_above(level));
    }
    image.extend(superblock(data_blocks as u64));
    let root = digest(levels.last().map_or(&[][..], Vec::as_slice));
    image.extend(levels.into_iter().rev().flatten());
    root
}

/// The hashes of all blocks of a level, in blocks.
fn level_above(level: &[u8]) -> Vec<u8> {
    let mut hashes: Vec<u8> = level.chunks(BLOCK).flat_map(digest).collect();
    hashes.resize(hashes.len().next_multiple_of(BLOCK), 0);
    hashes
}

fn digest(block: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(SALT)
        .chain_update(block)
        .finalize()
        .into()
}

/// In a block of its own: the tree begins with the next one.
fn superblock(data_blocks: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    for (offset, bytes) in [
        (0, &b"verity\0\0"[..]),
        (8, &1_u32.to_le_bytes()),
        (12, &1_u32.to_le_bytes()),
        (32, b"sha256"),
        (64, &0x1000_u32.to_le_bytes()),
        (68, &0x1000_u32.to_le_bytes()),
        (72, &data_blocks.to_le_bytes()),
        (80, &[SALT_LEN, 0]),
        (88, SALT),
    ] {
        block[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    block
}
