//! Noise: content that no encoder makes smaller. Shared with the fuzz targets.

/// Bytes that look like nothing else, by their seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len.div_ceil(8))
        .flat_map(|_| step().to_le_bytes())
        .take(len)
        .collect()
}
