//! Patches put together step by step, and the naive reader of their steps.

use std::io::Write as _;

use crate::input::Input;

/// What a patch says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps {
    /// Add, insert, seek.
    pub(crate) triples: Vec<[i64; 3]>,
    pub(crate) diff: Vec<u8>,
    pub(crate) extra: Vec<u8>,
}

impl Steps {
    /// Steps that make exactly so many bytes.
    pub(crate) fn of_length(input: &mut Input<'_>, len: usize) -> Self {
        let (mut steps, mut left) = (Self::default(), len);
        while left > 0 {
            let add = input.below(left.min(600) + 1);
            let insert = if input.is_empty() {
                left - add
            } else {
                input.below((left - add).min(200) + 1)
            };
            let seek = i64::from(input.short()) % 8192 - 4096;
            let number = |count: usize| i64::try_from(count).unwrap_or(0);
            steps.triples.push([number(add), number(insert), seek]);
            steps.diff.extend(input.pattern(add));
            steps.extra.extend(input.pattern(insert));
            left -= add + insert;
        }
        steps
    }

    /// The result, byte by byte; none if a count is negative, a stream ends early or the position
    /// leaves 64 bits.
    pub(crate) fn naive(&self, old: &[u8]) -> Option<Vec<u8>> {
        let (mut result, mut position) = (Vec::new(), 0_i64);
        let (mut diff, mut extra) = (self.diff.iter(), self.extra.iter());
        for [add, insert, seek] in &self.triples {
            for _ in 0..u64::try_from(*add).ok()? {
                let from = usize::try_from(position).ok();
                let from = from.and_then(|at| old.get(at)).copied().unwrap_or(0);
                result.push(diff.next()?.wrapping_add(from));
                position = position.checked_add(1)?;
            }
            for _ in 0..u64::try_from(*insert).ok()? {
                result.push(*extra.next()?);
            }
            position = position.checked_add(*seek)?;
        }
        Some(result)
    }

    /// The result up to its length, where no step is looked at any more; none if it isn't reached or
    /// a step goes beyond it.
    pub(crate) fn naive_until(&self, old: &[u8], len: usize) -> Option<Vec<u8>> {
        let (mut made, mut count) = (0_usize, 0);
        while made < len {
            let [add, insert, _] = self.triples.get(count)?;
            made = made
                .checked_add(usize::try_from(*add).ok()?)?
                .checked_add(usize::try_from(*insert).ok()?)?;
            count += 1;
        }
        if made > len {
            return None;
        }
        let steps = Self {
            triples: self.triples[..count].to_vec(),
            ..self.clone()
        };
        steps.naive(old)
    }

    /// The patch, its streams packed as these numbers say.
    pub(crate) fn patch(&self, is_bsdf2: bool, packings: [u8; 3], result_len: usize) -> Vec<u8> {
        let control: Vec<u8> = self.triples.iter().flatten().copied().flat_map(signed).collect();
        let control = pack(&control, packings[0]);
        let diff = pack(&self.diff, packings[1]);
        let extra = pack(&self.extra, packings[2]);
        let magic = if is_bsdf2 {
            [b"BSDF2", &packings[..]].concat()
        } else {
            b"BSDIFF40".to_vec()
        };
        let lengths = [control.len(), diff.len(), result_len].map(|len| (len as u64).to_le_bytes());
        [magic, lengths.concat(), control, diff, extra].concat()
    }
}

/// bsdiff's numbers: magnitude, sign on top.
fn signed(number: i64) -> [u8; 8] {
    let sign = if number < 0 { 1 << 63 } else { 0 };
    (number.unsigned_abs() & !(1 << 63) | sign).to_le_bytes()
}

/// Compresses: 0 not at all, 1 bzip2, 2 brotli, 3 xz, 4 zstd.
pub(crate) fn pack(bytes: &[u8], packing: u8) -> Vec<u8> {
    const IN_MEMORY: &str = "memory takes all bytes";
    match packing {
        1 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        2 => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 2, 16);
            encoder.write_all(bytes).expect(IN_MEMORY);
            encoder.into_inner()
        }
        3 => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(bytes).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        4 => zstd::encode_all(bytes, 1).expect(IN_MEMORY),
        _ => bytes.to_vec(),
    }
}
