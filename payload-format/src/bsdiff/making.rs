//! The maker of patches, from two files.

use std::io;

use ::brotli::enc::{BrotliCompress, BrotliEncoderParams};

use super::similar::Similar;
use super::{Container, Packing};
use crate::bzip::bzip;

/// Qualities of brotli: the last that is fast, and the best, which takes forty times as long for
/// some 8 percent.
const QUICK: i32 = 9;
const BEST: i32 = 11;

/// A part that shrinks more than this many times is compressed quickly, unless it has few bytes.
const SPARSE: usize = 24;
const SMALL: usize = 64 << 10;

/// A window that every decoder takes.
const WINDOW_BITS: i32 = 22;

/// The three parts of a patch, not yet compressed.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    control: Vec<u8>,
    diff: Vec<u8>,
    extra: Vec<u8>,
    result_len: usize,
}

impl Parts {
    /// What leads from `old` to `new` by these pieces, of which `place` tells where they lie in the
    /// old file that the patch will be applied to.
    pub(crate) fn new(old: &[u8], new: &[u8], pieces: &[Similar], place: impl Fn(usize) -> usize) -> Self {
        let mut parts = Self {
            result_len: new.len(),
            ..Self::default()
        };
        let (mut at, mut position) = (0, 0);
        let mut pieces = pieces.iter().peekable();
        // What stands before the first piece, and a jump to it.
        let before = pieces.peek().map_or(new.len(), |piece| piece.new);
        let jump = pieces.peek().map_or(0, |piece| place(piece.old));
        if before > 0 || jump > 0 {
            parts.extra.extend_from_slice(&new[..before]);
            parts.step([0, before, jump], 0);
            (at, position) = (before, jump);
        }
        while let Some(piece) = pieces.next() {
            let (theirs, ours) = (&old[piece.old..piece.old_end()], &new[at..piece.new_end()]);
            let differences = ours.iter().zip(theirs).map(|(new, old)| new.wrapping_sub(*old));
            parts.diff.extend(differences);
            let next = pieces.peek().map_or(new.len(), |next| next.new);
            parts.extra.extend_from_slice(&new[piece.new_end()..next]);
            let target = pieces.peek().map_or(position + piece.len, |next| place(next.old));
            parts.step([piece.len, next - piece.new_end(), target], position + piece.len);
            (at, position) = (next, target);
        }
        parts
    }

    /// Appends a triple, whose last number leads from `position` to the target.
    fn step(&mut self, [add, insert, target]: [usize; 3], position: usize) {
        for count in [add, insert] {
            self.control.extend((count as u64).to_le_bytes());
        }
        let back = if target < position { 1 << 63 } else { 0 };
        let seek = target.abs_diff(position) as u64 | back;
        self.control.extend(seek.to_le_bytes());
    }

    /// Compresses all parts in every way that one of these containers has.
    pub(crate) fn pack(&self, containers: &[Container]) -> io::Result<CompressedPatch> {
        let with_brotli = containers.contains(&Container::Bsdf2);
        let pack = |part: &[u8]| -> io::Result<_> {
            let brotli = with_brotli.then(|| brotli(part)).transpose()?;
            Ok(Forms {
                plain: part.to_vec(),
                bzip2: bzip(part)?,
                brotli,
            })
        };
        Ok(CompressedPatch {
            parts: [pack(&self.control)?, pack(&self.diff)?, pack(&self.extra)?],
            result_len: self.result_len,
        })
    }
}

/// A patch whose parts are compressed.
pub(crate) struct CompressedPatch {
    parts: [Forms; 3],
    result_len: usize,
}

/// A part in every form.
struct Forms {
    plain: Vec<u8>,
    bzip2: Vec<u8>,
    brotli: Option<Vec<u8>>,
}

impl CompressedPatch {
    /// The patch in this container, its parts as small as that allows.
    pub(crate) fn patch(&self, container: Container) -> Vec<u8> {
        let parts = self.parts.each_ref().map(|forms| match container {
            Container::Bsdiff40 => (Packing::Bzip2, &forms.bzip2),
            Container::Bsdf2 => forms.smallest(),
        });
        let mut patch = match container {
            Container::Bsdiff40 => b"BSDIFF40".to_vec(),
            Container::Bsdf2 => [b"BSDF2", &parts.map(|(packing, _)| packing.number())[..]].concat(),
        };
        for len in [parts[0].1.len(), parts[1].1.len(), self.result_len] {
            patch.extend((len as u64).to_le_bytes());
        }
        for (_, bytes) in parts {
            patch.extend_from_slice(bytes);
        }
        patch
    }
}

impl Forms {
    fn smallest(&self) -> (Packing, &Vec<u8>) {
        let mut smallest = (Packing::Plain, &self.plain);
        let packed = [
            self.brotli.as_ref().map(|bytes| (Packing::Brotli, bytes)),
            Some((Packing::Bzip2, &self.bzip2)),
        ];
        for (packing, bytes) in packed.into_iter().flatten() {
            if bytes.len() < smallest.1.len() {
                smallest = (packing, bytes);
            }
        }
        smallest
    }
}

impl Packing {
    /// As it stands in a patch.
    const fn number(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Bzip2 => 1,
            Self::Brotli => 2,
        }
    }
}

fn brotli(part: &[u8]) -> io::Result<Vec<u8>> {
    let quick = brotli_of(part, QUICK)?;
    // Long zeros take the best compressor as long as anything else, and gain a few hundred bytes.
    if part.len() > SMALL && quick.len() * SPARSE < part.len() {
        return Ok(quick);
    }
    let best = brotli_of(part, BEST)?;
    Ok(if best.len() < quick.len() { best } else { quick })
}

fn brotli_of(part: &[u8], quality: i32) -> io::Result<Vec<u8>> {
    let parameters = BrotliEncoderParams {
        quality,
        lgwin: WINDOW_BITS,
        size_hint: part.len(),
        ..BrotliEncoderParams::default()
    };
    let (mut input, mut output) = (part, Vec::new());
    BrotliCompress(&mut input, &mut output, &parameters)?;
    Ok(output)
}
