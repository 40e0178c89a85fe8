//! Encoders: how a segment's content becomes the bytes of the image.
//!
//! An encoder is a contract: the same content must give the same bytes, on every node, for as long
//! as payloads name it. So its name holds the exact version of the library, and the crate is pinned
//! to that version; tests hold the library's version and the digests of samples. A newer library
//! would be a further encoder.

use std::io;

use zstd::bulk::Decompressor;
use zstd::zstd_safe::{CCtx, CParameter};

use super::TablesError;

/// The library that `zstd-1.5.7` stands for, as it says itself.
const ZSTD_VERSION: u32 = 10_507;

/// Bytes of content that one encoded segment stands for, at most.
pub(crate) const MAX_ENCODED: usize = 1 << 20;

/// How content is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentEncoder {
    /// One zstd frame as btrfs writes it in Linux: with the content's length, without checksum, and
    /// zeros after it. By libzstd 1.5.7.
    BtrfsZstd {
        /// Of the compressor: 1 to 15.
        level: i32,
    },
}

impl ContentEncoder {
    /// The name of [`Self::BtrfsZstd`] in manifests.
    const BTRFS_ZSTD: &'static str = "btrfs-zstd-1.5.7";

    /// Levels that btrfs has.
    const LEVELS: std::ops::RangeInclusive<i32> = 1..=15;

    /// The encoder of that name.
    ///
    /// # Errors
    /// [`TablesError::Encoder`] if it isn't built in.
    pub fn new(name: &str, level: i32) -> Result<Self, TablesError> {
        let is_known = name == Self::BTRFS_ZSTD && Self::LEVELS.contains(&level);
        // A build with another library must not claim to be this one.
        if is_known && zstd::zstd_safe::version_number() == ZSTD_VERSION {
            return Ok(Self::BtrfsZstd { level });
        }
        Err(TablesError::Encoder {
            name: name.chars().take(64).collect(),
            level,
        })
    }

    /// Every encoder: those that most images need first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let others = Self::LEVELS.filter(|level| *level != 3);
        std::iter::once(3)
            .chain(others)
            .map(|level| Self::BtrfsZstd { level })
    }

    /// Its name in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BtrfsZstd { .. } => Self::BTRFS_ZSTD,
        }
    }

    /// Its level in manifests.
    #[must_use]
    pub const fn level(self) -> i32 {
        match self {
            Self::BtrfsZstd { level } => level,
        }
    }

    /// What the content becomes, without the zeros that fill its last block.
    pub(crate) fn encode(self, content: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::BtrfsZstd { level } => btrfs_zstd(level, content),
        }
    }
}

/// The parameters are those of the level for exactly this length, which the library chooses itself
/// once it knows the length. btrfs limits the window to 128 KiB, the most that an extent holds.
fn btrfs_zstd(level: i32, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::with_capacity(zstd::zstd_safe::compress_bound(content.len()));
    let compressed = btrfs_compressor(level)?.compress2(&mut encoded, content);
    compressed.map_err(failed)?;
    Ok(encoded)
}

/// A new one each time: its output depends on nothing that it has compressed before.
fn btrfs_compressor(level: i32) -> io::Result<CCtx<'static>> {
    let mut compressor = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
    ] {
        compressor.set_parameter(parameter).map_err(failed)?;
    }
    Ok(compressor)
}

/// Unpacks one zstd frame of at most `limit` bytes of content at the start of `encoded`; what
/// follows it must be zeros. One decoder does for many.
pub(crate) fn decode_btrfs_zstd(
    decoder: &mut Decompressor<'_>,
    encoded: &[u8],
    limit: usize,
) -> io::Result<Vec<u8>> {
    let len = zstd::zstd_safe::find_frame_compressed_size(encoded).map_err(failed)?;
    let (frame, padding) = encoded
        .split_at_checked(len)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    decoder.decompress(frame, limit.min(MAX_ENCODED))
}

/// The library's error.
pub(super) fn failed(code: usize) -> io::Error {
    io::Error::other(zstd::zstd_safe::get_error_name(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    /// Bytes that compress in part: words, runs and noise.
    fn sample(len: u32) -> Vec<u8> {
        let word = |at: u32| match at / 640 % 3 {
            0 => at / 40,
            1 => (at.wrapping_mul(2_654_435_761) >> 7) ^ at,
            _ => 0x2020_6120 ^ (at % 7),
        };
        (0..len / 4).flat_map(|at| word(at).to_le_bytes()).collect()
    }

    fn decode(encoded: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        decode_btrfs_zstd(&mut Decompressor::new().unwrap(), encoded, limit)
    }

    /// No update of a library may change these: nodes would make other images than were signed. A
    /// newer library is another encoder, with another name.
    #[test]
    fn the_encoder_is_exactly_libzstd_1_5_7() {
        assert_eq!(zstd::zstd_safe::version_number(), ZSTD_VERSION);
        let digests = [
            (1, 131_072, "dd948056b0cc3c79"),
            (3, 4096, "80ea5c71c5b20503"),
            (3, 20_480, "d188ded0a2a7b2d7"),
            (3, 131_072, "d1328f2a2813a3d2"),
            (9, 131_072, "ccddb3c1d5be4b72"),
            (15, 65_536, "c9f72d6a0e3d84d3"),
        ];
        let made = digests.map(|(level, len, _)| {
            let encoder = ContentEncoder::new("btrfs-zstd-1.5.7", level).unwrap();
            let frame = encoder.encode(&sample(len)).unwrap();
            assert_eq!(decode(&frame, MAX_ENCODED).unwrap(), sample(len));
            let digest = Sha256Digest::of(&frame).to_string();
            (level, len, digest[..16].to_owned())
        });
        assert_eq!(
            made,
            digests.map(|(level, len, digest)| (level, len, digest.to_owned()))
        );
    }

    #[test]
    fn an_encoder_takes_3_mib_for_what_btrfs_encodes_and_20_for_the_most() {
        for (len, limit) in [(131_072, 3 << 20), (1 << 20, 20 << 20)] {
            let takes = ContentEncoder::LEVELS.map(|level| {
                let mut compressor = btrfs_compressor(level).unwrap();
                let mut encoded = Vec::with_capacity(2 << 20);
                compressor.compress2(&mut encoded, &sample(len)).unwrap();
                compressor.sizeof()
            });
            let most = takes.max().unwrap();
            assert!(most <= limit && most > limit / 2, "{most} bytes for {len}");
        }
    }

    #[test]
    fn other_encoders_are_unknown() {
        for (name, level) in [
            ("btrfs-zstd-1.5.7", 0),
            ("btrfs-zstd-1.5.7", 16),
            ("btrfs-zstd-1.5.5", 3),
            ("", 3),
        ] {
            assert!(ContentEncoder::new(name, level).is_err(), "{name} {level}");
        }
    }

    #[test]
    fn what_follows_a_frame_is_zeros() {
        let mut encoded = ContentEncoder::BtrfsZstd { level: 3 }
            .encode(&sample(8192))
            .unwrap();
        encoded.resize(4096, 0);
        assert_eq!(decode(&encoded, 8192).unwrap(), sample(8192));
        assert!(decode(&encoded, 8191).is_err());
        encoded[4095] = 1;
        assert!(decode(&encoded, 8192).is_err());
        assert!(decode(&[], 8192).is_err());
    }
}
