//! Bytes of content by choices of the fuzzer, and what an encoder and a packer make of them.

use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

use super::content_draft::BLOCK;
use super::noise::noise;
use crate::input::Input;

/// Bytes that compress well, or so many blocks at most that don't.
pub(crate) fn bytes(input: &mut Input<'_>, len: usize, blocks: usize) -> Vec<u8> {
    if input.is_odd() {
        return noise(input.short().into(), len.min(blocks * BLOCK));
    }
    let mut bytes = input.pattern(len);
    // Otherwise chunks of one length are all alike.
    for (number, block) in bytes.chunks_mut(700).enumerate() {
        block[0] ^= number.to_le_bytes()[0];
    }
    bytes
}

/// What the encoder makes of it, by its description.
pub(crate) fn encode(level: i32, content: &[u8]) -> Vec<u8> {
    compressed(level, true, &[], content)
}

/// One zstd frame, with what stands before its content.
pub(super) fn compressed(level: i32, with_len: bool, prefix: &[u8], content: &[u8]) -> Vec<u8> {
    let mut compressor = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::ContentSizeFlag(with_len),
        CParameter::ChecksumFlag(false),
    ] {
        compressor.set_parameter(parameter).expect("a parameter");
    }
    if !prefix.is_empty() {
        compressor.ref_prefix(prefix).expect("a prefix");
    }
    let mut compressed = Vec::with_capacity(compress_bound(content.len()));
    compressor
        .compress2(&mut compressed, content)
        .expect("room enough");
    compressed
}

/// Changes one bit of one byte, if there are any.
pub(super) fn flip(bytes: &mut [u8], at: usize) {
    let len = bytes.len();
    if len > 0 {
        bytes[at % len] ^= 1 << (at % 8);
    }
}
