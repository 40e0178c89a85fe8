//! The content-defined chunker: it cuts where the content says so, so that an insertion moves cuts
//! near it and none behind.
//!
//! A chunk ends behind its byte `i` where it has at least `min` bytes and the top `mask_bits` bits
//! of `h[i]` are zero, or where it has `max` bytes, or with its unit. `h` is 0 before the chunk's
//! first byte, and `h[i] = 2 * h[i-1] + G[byte i]` modulo 2^64; `G[b]` is the number in the first
//! eight bytes, little-endian, of the SHA-256 of the one byte `b`.

use std::sync::OnceLock;

use super::TablesError;
use crate::digest::Sha256Digest;

/// Where chunks end. Part of the format: both sides cut alike or find nothing in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkerParams {
    min: u32,
    mask_bits: u32,
    max: u32,
}

/// Bytes that a rolling hash of 64 bits remembers.
const MEMORY: usize = 64;

impl ChunkerParams {
    /// Bytes of a chunk at most.
    pub const MAX_LEN: u32 = 256 << 10;

    /// Chunks of 20 KiB in the mean, from 4 to 64. Smaller ones share more with an old image, and
    /// take 22 bytes each in the manifest, which every node fetches.
    pub const DEFAULT: Self = Self {
        min: 4 << 10,
        mask_bits: 14,
        max: 64 << 10,
    };

    /// Checks the parameters: 64 <= `min` <= `max` <= [`Self::MAX_LEN`], and 1 to 24 `mask_bits`.
    ///
    /// # Errors
    /// [`TablesError::Range`].
    pub fn new(min: u32, mask_bits: u32, max: u32) -> Result<Self, TablesError> {
        in_range("chunk_min", min, (MEMORY as u64, Self::MAX_LEN.into()))?;
        in_range("chunk_mask_bits", mask_bits, (1, 24))?;
        in_range("chunk_max", max, (min.into(), Self::MAX_LEN.into()))?;
        Ok(Self { min, mask_bits, max })
    }

    /// Bytes of a chunk at least, but for the last of a unit.
    #[must_use]
    pub const fn min(self) -> u32 {
        self.min
    }

    /// Zero bits that make a cut: one byte in so many powers of two.
    #[must_use]
    pub const fn mask_bits(self) -> u32 {
        self.mask_bits
    }

    /// Bytes of a chunk at most.
    #[must_use]
    pub const fn max(self) -> u32 {
        self.max
    }
}

fn in_range(field: &'static str, found: u32, (min, max): (u64, u64)) -> Result<(), TablesError> {
    let found = u64::from(found);
    (min..=max)
        .contains(&found)
        .then_some(())
        .ok_or(TablesError::Range {
            field,
            entry: 0,
            found,
            min,
            max,
        })
}

/// Cuts one unit after the other.
pub(crate) struct Chunker {
    params: ChunkerParams,
    gear: &'static [u64; 256],
    hash: u64,
    /// The chunk so far.
    chunk: Vec<u8>,
}

impl Chunker {
    pub(crate) fn new(params: ChunkerParams) -> Self {
        Self {
            params,
            gear: gear(),
            hash: 0,
            chunk: Vec::new(),
        }
    }

    /// Takes more of the unit and hands out each chunk that is complete.
    pub(crate) fn push<E>(
        &mut self,
        mut bytes: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let (len, is_complete) = self.step(bytes);
            let (now, rest) = bytes.split_at(len);
            self.chunk.extend_from_slice(now);
            bytes = rest;
            if is_complete {
                self.end_unit(take)?;
            }
        }
        Ok(())
    }

    /// Hands out what is left: the unit is over.
    pub(crate) fn end_unit<E>(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.hash = 0;
        if self.chunk.is_empty() {
            return Ok(());
        }
        let result = take(&self.chunk);
        self.chunk.clear();
        result
    }

    /// How many of the next bytes belong to the chunk, and whether it ends with them.
    fn step(&mut self, bytes: &[u8]) -> (usize, bool) {
        let before = self.chunk.len();
        let (min, max) = (self.params.min as usize, self.params.max as usize);
        let most = bytes.len().min(max.saturating_sub(before));
        // What the hash forgets before the first possible cut needs no hashing.
        let skip = (min - MEMORY).saturating_sub(before).min(most);
        let shift = 64 - self.params.mask_bits;
        for (at, byte) in bytes[..most].iter().enumerate().skip(skip) {
            self.hash = (self.hash << 1).wrapping_add(self.gear[usize::from(*byte)]);
            if self.hash >> shift == 0 && before + at + 1 >= min {
                return (at + 1, true);
            }
        }
        (most, before + most == max)
    }
}

fn gear() -> &'static [u64; 256] {
    static GEAR: OnceLock<[u64; 256]> = OnceLock::new();
    GEAR.get_or_init(|| {
        let mut gear = [0; 256];
        for (byte, value) in (0..=u8::MAX).zip(&mut gear) {
            let digest = Sha256Digest::of(&[byte]);
            // Invariant: a digest has more than eight bytes.
            *value = digest
                .as_bytes()
                .first_chunk()
                .copied()
                .map_or(0, u64::from_le_bytes);
        }
        gear
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(params: ChunkerParams, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let mut chunker = Chunker::new(params);
        let mut take = |chunk: &[u8]| {
            chunks.push(chunk.to_vec());
            Ok::<_, ()>(())
        };
        for piece in pieces {
            chunker.push(piece, &mut take).unwrap();
        }
        chunker.end_unit(&mut take).unwrap();
        chunks
    }

    /// The rule as the documentation has it, byte by byte.
    fn by_definition(params: ChunkerParams, bytes: &[u8]) -> Vec<Vec<u8>> {
        let (mut chunks, mut chunk, mut hash) = (Vec::new(), Vec::new(), 0_u64);
        for byte in bytes {
            chunk.push(*byte);
            hash = hash.wrapping_mul(2).wrapping_add(gear()[usize::from(*byte)]);
            let is_cut = chunk.len() >= params.min as usize && hash >> (64 - params.mask_bits) == 0;
            if is_cut || chunk.len() == params.max as usize {
                chunks.push(std::mem::take(&mut chunk));
                hash = 0;
            }
        }
        chunks.extend(Some(chunk).filter(|chunk| !chunk.is_empty()));
        chunks
    }

    proptest! {
        #[test]
        fn cuts_are_those_of_the_definition_however_the_bytes_come(
            bytes in prop::collection::vec(any::<u8>(), 0..4000),
            at in any::<prop::sample::Index>(),
            min in 64_u32..200,
            more in 0_u32..600,
        ) {
            let params = ChunkerParams::new(min, 6, min + more).unwrap();
            let (one, other) = bytes.split_at(at.index(bytes.len() + 1));
            prop_assert_eq!(cut(params, &[one, other]), by_definition(params, &bytes));
        }
    }

    #[test]
    fn an_insertion_moves_few_cuts() {
        let params = ChunkerParams::new(256, 9, 4096).unwrap();
        let bytes: Vec<u8> = (0..100_000_u32)
            .map(|i| Sha256Digest::of(&i.to_le_bytes()).as_bytes()[0])
            .collect();
        let before = cut(params, &[&bytes]);
        let after = cut(params, &[&bytes[..50_000], b"inserted", &bytes[50_000..]]);
        let kept = after.iter().filter(|chunk| before.contains(chunk)).count();
        assert!(kept + 4 >= after.len(), "{kept} of {}", after.len());
        assert!(after.len() > 100);
    }

    #[test]
    fn parameters_have_ranges() {
        for (min, bits, max) in [
            (63, 6, 100),
            (64, 0, 100),
            (64, 25, 100),
            (64, 6, 63),
            (64, 6, (256 << 10) + 1),
        ] {
            assert!(ChunkerParams::new(min, bits, max).is_err(), "{min} {bits} {max}");
        }
    }
}
