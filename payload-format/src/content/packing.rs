//! The packed form of a chunk: one zstd frame that refers back into the content before the chunk.
//!
//! A node that builds the image has all content before a chunk, wherever it came from. So a chunk
//! is fetched alone and still compressed about as well as in one stream with its neighbours.

use std::io;
use std::ops::Range;

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

use super::encoder::failed;

/// Bytes of content that the packed form may refer back to, at most: memory of every node.
pub(crate) const MAX_PREFIX: u32 = 4 << 20;

/// Packs chunks of a content that lies in memory.
pub(crate) struct Packer<'a> {
    compressor: CCtx<'a>,
    content: &'a [u8],
    prefix_len: usize,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(content: &'a [u8], prefix_len: u32, level: i32) -> io::Result<Self> {
        let mut compressor = CCtx::create();
        for parameter in [
            CParameter::CompressionLevel(level),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
        ] {
            compressor.set_parameter(parameter).map_err(failed)?;
        }
        let prefix_len = usize::try_from(prefix_len).unwrap_or(usize::MAX);
        Ok(Self {
            compressor,
            content,
            prefix_len,
        })
    }

    /// Packs one chunk; as it is if it doesn't become smaller.
    pub(crate) fn pack(&mut self, chunk: Range<usize>) -> io::Result<Vec<u8>> {
        let prefix = &self.content[chunk.start.saturating_sub(self.prefix_len)..chunk.start];
        let chunk = &self.content[chunk];
        if !prefix.is_empty() {
            self.compressor.ref_prefix(prefix).map_err(failed)?;
        }
        let mut packed = Vec::with_capacity(zstd_safe::compress_bound(chunk.len()));
        self.compressor.compress2(&mut packed, chunk).map_err(failed)?;
        if packed.len() < chunk.len() {
            return Ok(packed);
        }
        Ok(chunk.to_vec())
    }
}

/// Unpacks chunks, with one decoder for all of them: a new one asks the processor what it can do, which
/// takes 20 µs in a virtual machine.
pub(crate) struct ChunkUnpacker(DCtx<'static>);

impl ChunkUnpacker {
    /// What a dictionary of the library's own format begins with.
    const DICTIONARY: [u8; 4] = 0xec30_a437_u32.to_le_bytes();

    pub(crate) fn new() -> Self {
        Self(DCtx::create())
    }

    /// Unpacks a chunk of `len` bytes. The frame holds nothing else.
    pub(crate) fn unpack(&mut self, packed: &[u8], prefix: &[u8], len: usize) -> io::Result<Vec<u8>> {
        if packed.len() == len {
            return Ok(packed.to_vec());
        }
        // The library would go on with any frame behind the first.
        let frame = zstd_safe::find_frame_compressed_size(packed).map_err(failed)?;
        if frame != packed.len() {
            return Err(io::Error::other(format!(
                "a frame of {frame} bytes is followed by {} more",
                packed.len() - frame
            )));
        }
        let mut chunk = Vec::with_capacity(len);
        let unpacked = if prefix.starts_with(&Self::DICTIONARY) {
            // It would be read as one; a decoder of its own can be told that it is content.
            let mut context = DCtx::create();
            context.ref_prefix(prefix).map_err(failed)?;
            context.decompress(&mut chunk, packed)
        } else {
            self.0.decompress_using_dict(&mut chunk, packed, prefix)
        };
        let unpacked = unpacked.map_err(failed)?;
        if unpacked != len {
            return Err(io::Error::other(format!("{unpacked} bytes instead of {len}")));
        }
        Ok(chunk)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_one_frame_and_nothing_behind_it() {
        let content = b"the same words, and the same words again, and the same words again".repeat(9);
        let half = content.len() / 2;
        let mut packer = Packer::new(&content, 0, 3).unwrap();
        let whole = packer.pack(0..content.len()).unwrap();
        let mut unpacker = ChunkUnpacker::new();
        let mut unpack = |packed: &[u8], len| unpacker.unpack(packed, &[], len);
        assert_eq!(unpack(&whole, content.len()).unwrap(), content);
        let halves = [0..half, half..content.len()].map(|range| packer.pack(range).unwrap());
        let error = unpack(&halves.concat(), content.len()).unwrap_err();
        assert!(error.to_string().contains("is followed by"), "{error}");
        assert!(unpack(&whole[..whole.len() - 1], content.len()).is_err());
    }

    /// With a prefix that looks like a dictionary of the library's own format, or hardly any.
    #[test]
    fn any_content_is_a_prefix() {
        let words = b"the same words, and the same words again, and the same words again".repeat(9);
        let magic = ChunkUnpacker::DICTIONARY;
        let pack = |content: &[u8], start: usize| {
            let mut packer = Packer::new(content, 1 << 17, 3).unwrap();
            packer.pack(start..content.len()).unwrap()
        };
        let mut unpacker = ChunkUnpacker::new();
        for start in [&magic[..], &[&magic[..], &words].concat(), &words, b"the s", b""] {
            let content = [start, &words].concat();
            let packed = pack(&content, start.len());
            assert!(packed.len() < words.len());
            assert_eq!(unpacker.unpack(&packed, start, words.len()).unwrap(), words);
            // What failed before makes no difference.
            assert!(unpacker.unpack(&packed[1..], start, words.len()).is_err());
        }
    }
}
