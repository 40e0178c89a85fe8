//! The dm-verity hash tree that lies behind the file system of a slot, and its root hash.
//!
//! ```text
//!   0                file system's end           + 1 hash block
//!   ├─ file system ──┼─ superblock, 512 bytes ───┼─ top block ─ next level … lowest level ┤
//!
//!   superblock (little endian): 0 "verity\0\0"  8 version (4)  12 type of hash (4)  32 algorithm (32)
//!        64 bytes of a data block (4)  68 of a hash block (4)  72 data blocks (8)  80 bytes of salt (2)  88 salt
//!   root hash, type 1:  SHA-256(salt, top block)
//! ```
//!
//! The root hash says what the tree's top block is, and so, level by level, what every block of the
//! file system must be. That the tree fits the file system is not looked at: both are part of the
//! image whose hash was just compared.
//!
//! Sources: cryptsetup's wiki page `DMVerity` and its `lib/verity`; Flatcar's
//! `build_library/disk_util verity`, which runs `veritysetup format` with the file system's length
//! as the offset. Ends of file systems: Linux' `fs/ext4/ext4.h`, btrfs' on-disk format, squashfs'
//! superblock.

use std::io;

use payload_format::{ReadBlocks, Sha256Digest};

const SUPERBLOCK: usize = 512;
const LARGEST_BLOCK: u32 = 1 << 16;
/// Of hash and data blocks, the least.
const SMALLEST_BLOCK: u32 = 512;
const LARGEST_SALT: usize = 256;

/// The root hash of the hash tree behind the file system of `image`, which has `len` bytes. None if
/// there is no such tree, or it is of a kind that is not known here (another algorithm or file
/// system).
///
/// # Errors
/// If the image can't be read.
pub fn root_hash(image: &dyn ReadBlocks, len: u64) -> io::Result<Option<Sha256Digest>> {
    let Some(end) = file_system_end(image, len)? else {
        return Ok(None);
    };
    let Some(superblock) = read(image, len, end, SUPERBLOCK)? else {
        return Ok(None);
    };
    let Some(tree) = HashTree::of(&superblock, end) else {
        return Ok(None);
    };
    let Some(top) = read(image, len, tree.top, tree.block)? else {
        return Ok(None);
    };
    Ok(Some(Sha256Digest::of(&[tree.salt, top].concat())))
}

/// Where a tree's top block is, and how it is hashed.
struct HashTree {
    /// Offset of the top block in bytes.
    top: u64,
    /// Its length in bytes.
    block: usize,
    salt: Vec<u8>,
}

impl HashTree {
    /// By the superblock at the offset `at`.
    fn of(superblock: &[u8], at: u64) -> Option<Self> {
        let algorithm = superblock.get(32..64)?.split(|byte| *byte == 0).next()?;
        let is_known = superblock.starts_with(b"verity\0\0")
            && number(superblock, 8, 4)? == 1
            && number(superblock, 12, 4)? == 1
            && algorithm == b"sha256";
        let data_blocks = number(superblock, 72, 8)?;
        // The root hash of a single block is its own.
        if !is_known || data_blocks < 2 {
            return None;
        }
        let block = u32::try_from(number(superblock, 68, 4)?).ok()?;
        let is_size = block.is_power_of_two() && (SMALLEST_BLOCK..=LARGEST_BLOCK).contains(&block);
        let salt = usize::try_from(number(superblock, 80, 2)?).ok()?;
        if !is_size || salt > LARGEST_SALT {
            return None;
        }
        let top = at.checked_add(SUPERBLOCK as u64)?;
        Some(Self {
            top: top.checked_next_multiple_of(block.into())?,
            block: usize::try_from(block).ok()?,
            salt: superblock.get(88..88 + salt)?.to_vec(),
        })
    }
}

/// Offset of the first byte behind the file system; none if it isn't one of those known here.
fn file_system_end(image: &dyn ReadBlocks, len: u64) -> io::Result<Option<u64>> {
    if let Some(superblock) = read(image, len, 1024, 1024)?
        && let Some(end) = ext_end(&superblock)
    {
        return Ok(Some(end));
    }
    if let Some(superblock) = read(image, len, 0x1_0000, 0x80)?
        && superblock.get(0x40..0x48) == Some(b"_BHRfS_M")
    {
        return Ok(number(&superblock, 0x70, 8));
    }
    let squashfs = read(image, len, 0, 96)?.filter(|superblock| superblock.starts_with(b"hsqs"));
    let used = squashfs.and_then(|superblock| number(&superblock, 40, 8));
    Ok(used.and_then(|used| used.checked_next_multiple_of(4096)))
}

fn ext_end(superblock: &[u8]) -> Option<u64> {
    let is_ext = superblock.get(0x38..0x3a)? == [0x53, 0xef];
    let log_block = number(superblock, 0x18, 4)?;
    let is_64_bit = number(superblock, 0x60, 4)? & 0x80 != 0;
    let high = if is_64_bit {
        number(superblock, 0x150, 4)?
    } else {
        0
    };
    let blocks = number(superblock, 4, 4)? | high << 32;
    let block = (is_ext && log_block <= 6).then(|| 1024_u64 << log_block)?;
    blocks.checked_mul(block)
}

/// Bytes of the image; none if it ends before them.
fn read(image: &dyn ReadBlocks, len: u64, offset: u64, count: usize) -> io::Result<Option<Vec<u8>>> {
    if offset.checked_add(count as u64).is_none_or(|end| end > len) {
        return Ok(None);
    }
    let mut bytes = vec![0; count];
    image.read_at(&mut bytes, offset)?;
    Ok(Some(bytes))
}

/// A number of at most 8 bytes, little endian.
fn number(bytes: &[u8], offset: usize, width: usize) -> Option<u64> {
    let digits = bytes.get(offset..offset.checked_add(width)?)?;
    Some(
        digits
            .iter()
            .rev()
            .fold(0, |value, digit| value << 8 | u64::from(*digit)),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Image(Vec<u8>);

    impl ReadBlocks for Image {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            let start = usize::try_from(offset).unwrap();
            buf.copy_from_slice(&self.0[start..start + buf.len()]);
            Ok(())
        }
    }

    impl Image {
        fn put(mut self, offset: usize, bytes: &[u8]) -> Self {
            self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
            self
        }

        fn root_hash(&self) -> Option<Sha256Digest> {
            root_hash(self, self.0.len() as u64).unwrap()
        }
    }

    const END: usize = 0x4_0000;

    /// An image of 256 KiB of file system, a superblock with the salt "salt", and a top block of
    /// 7s. Of the file system nothing is there but its length.
    fn image() -> Image {
        Image(vec![0; END + 0x4000])
            .put(END, b"verity\0\0\x01\0\0\0\x01\0\0\0")
            .put(END + 32, b"sha256")
            .put(END + 64, &4096_u32.to_le_bytes())
            .put(END + 68, &4096_u32.to_le_bytes())
            .put(END + 72, &64_u64.to_le_bytes())
            .put(END + 80, &4_u16.to_le_bytes())
            .put(END + 88, b"salt")
            .put(END + 4096, &[7; 4096])
    }

    fn ext4() -> Image {
        image()
            .put(1024 + 0x38, &[0x53, 0xef])
            .put(1024 + 0x18, &2_u32.to_le_bytes())
            .put(1024 + 4, &64_u32.to_le_bytes())
    }

    #[test]
    fn the_root_hash_is_that_of_salt_and_top_block_behind_each_file_system() {
        let expected = Some(Sha256Digest::of(&[&b"salt"[..], &[7; 4096]].concat()));
        let end = (END as u64).to_le_bytes();
        let btrfs = image().put(0x1_0040, b"_BHRfS_M").put(0x1_0070, &end);
        let squashfs = image().put(0, b"hsqs").put(40, &(END as u64 - 100).to_le_bytes());
        for image in [ext4(), btrfs, squashfs] {
            assert_eq!(image.root_hash(), expected);
        }
    }

    #[test]
    fn what_is_not_known_has_no_root_hash() {
        assert_eq!(image().root_hash(), None, "no file system");
        for (offset, bytes) in [
            (END, &b"x"[..]),
            (END + 8, b"\x02"),
            (END + 12, b"\0"),
            (END + 32, b"sha512"),
            (END + 68, &4097_u32.to_le_bytes()),
            (END + 68, &(1_u32 << 30).to_le_bytes()),
            (END + 72, &1_u64.to_le_bytes()),
            (END + 80, &257_u16.to_le_bytes()),
            (1024 + 4, &u32::MAX.to_le_bytes()),
        ] {
            assert_eq!(ext4().put(offset, bytes).root_hash(), None, "{offset} {bytes:?}");
        }
        let mut cut = ext4();
        cut.0.truncate(END + 4096 + 4095);
        assert_eq!(cut.root_hash(), None);
    }

    proptest! {
        #[test]
        fn any_superblock_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 512..600)) {
            let _ = ext4().put(END + 8, &bytes[8..]).root_hash();
            let _ = ext4().put(1024, &bytes).root_hash();
        }
    }
}
