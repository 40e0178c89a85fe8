//! The size of a brotli stream's window, which a decoder allocates at once.

use super::{PatchError, Stream};

/// Bits of the largest window that is accepted: 4 MiB, what encoders choose unless told otherwise.
/// Three streams are decoded side by side.
const MAX_WINDOW_BITS: u8 = 22;

/// Refuses a stream, of which these are the first bytes, if its window is too large.
pub(super) fn check(bytes: &[u8], stream: Stream) -> Result<(), PatchError> {
    let first = bytes.first().copied();
    first
        .is_some_and(is_bounded)
        .then_some(())
        .ok_or(PatchError::Window { stream })
}

/// Whether a stream that begins with this byte has a window that is small enough (RFC 7932, 9.1).
/// Streams with the "large window" extension, up to 1 GiB, have a first byte that the RFC leaves
/// invalid.
fn is_bounded(first: u8) -> bool {
    window_bits(first).is_some_and(|bits| bits <= MAX_WINDOW_BITS)
}

/// One bit, four bits or seven, from the lowest on.
const fn window_bits(first: u8) -> Option<u8> {
    match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, _, _) => Some(16),
        (_, 0, 0) => Some(17),
        (_, 0, 1) => None,
        (_, 0, low) => Some(8 + low),
        (_, high, _) => Some(17 + high),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_window_is_what_the_encoder_was_told() {
        for bits in 10..=24 {
            let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 9, bits);
            encoder.write_all(&vec![7; 30 << 20]).unwrap();
            let stream = encoder.into_inner();
            assert_eq!(window_bits(stream[0]).map(u32::from), Some(bits));
            assert_eq!(is_bounded(stream[0]), bits <= 22);
        }
    }

    #[test]
    fn large_windows_are_refused() {
        assert_eq!(window_bits(0b0001_0001), None);
    }
}
