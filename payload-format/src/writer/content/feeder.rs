//! The feeder: finds the content of an image, and which encoders make its blocks.

use std::io;

use super::kernel::KernelTracker;
use super::workers::Batches;
use super::{ContentOptions, ImageParts};
use crate::block::BlockRange;
use crate::content::{self, Chunker, ContentEncoder, Segment};
use crate::writer::Snapshot;

/// Extents that all levels of an encoder are tried on before those that never fit are given up.
const TRIALS: usize = 64;

/// What was found of an image.
pub(super) struct FoundContent {
    pub(super) segments: Vec<Segment>,
    pub(super) encoders: Vec<ContentEncoder>,
    /// The first byte of content that is the kernel, if all of it is content.
    pub(super) kernel_start: Option<u64>,
}

/// Finds the content and hands it on.
pub(super) struct Feeder {
    options: ContentOptions,
    batches: Batches,
    segments: Vec<Segment>,
    encoders: Encoders,
    /// Blocks that are computed.
    computed: Option<BlockRange>,
    kernel: Option<KernelTracker>,
    /// Bytes of content so far.
    len: u64,
}

impl Feeder {
    pub(super) fn new(options: ContentOptions, parts: &ImageParts, batches: Batches) -> Self {
        Self {
            options,
            batches,
            segments: Vec::new(),
            encoders: Encoders {
                used: Vec::new(),
                trials: TRIALS,
            },
            computed: parts.computed(),
            kernel: parts.kernel.map(KernelTracker::new),
            len: 0,
        }
    }

    /// Takes all of the image.
    pub(super) fn feed(mut self, image: Snapshot<'_>) -> io::Result<FoundContent> {
        let mut chunker = Chunker::new(self.options.chunker);
        let (blocks, len) = image.parts();
        content::scan::<io::Error>(blocks, len, self.computed, &mut |found| {
            let encoder = found
                .decoded
                .and_then(|decoded| self.encoders.encoder_of(decoded, found.stored, found.blocks));
            let content = match encoder {
                Some(_) => found.content(),
                None => found.stored,
            };
            self.batches.count(found.stored.len() as u64);
            self.segments.push(Segment {
                blocks: found.blocks,
                // Invariant: at most `ContentTables::MAX_SEGMENT`.
                len: u32::try_from(content.len()).unwrap_or(u32::MAX),
                encoder,
            });
            if let Some(kernel) = &mut self.kernel {
                kernel.take(found.blocks, self.len, content);
            }
            self.len += content.len() as u64;
            if found.begins_unit {
                chunker.end_unit(&mut |chunk| self.batches.push(chunk))?;
            }
            chunker.push(content, &mut |chunk| self.batches.push(chunk))
        })?;
        chunker.end_unit(&mut |chunk| self.batches.push(chunk))?;
        self.batches.flush()?;
        Ok(FoundContent {
            segments: self.segments,
            encoders: self.encoders.used,
            kernel_start: self.kernel.and_then(|kernel| kernel.start()),
        })
    }
}

/// The encoders that made extents of this image.
struct Encoders {
    used: Vec<ContentEncoder>,
    /// Extents that further ones may still be tried on.
    trials: usize,
}

impl Encoders {
    /// The encoder that makes exactly `stored` of `decoded`, as an index.
    fn encoder_of(&mut self, decoded: &[u8], stored: &[u8], blocks: BlockRange) -> Option<u8> {
        let makes_it = |encoder: &ContentEncoder| {
            let encoded = encoder.encode(decoded).ok();
            encoded
                .and_then(|encoded| content::padded(encoded, blocks).ok())
                .as_deref()
                == Some(stored)
        };
        let known = self.used.iter().position(makes_it);
        let index = known.or_else(|| {
            self.trials = self.trials.checked_sub(1)?;
            let mut others = ContentEncoder::all().filter(|encoder| !self.used.contains(encoder));
            let encoder = others.find(makes_it)?;
            self.used.push(encoder);
            Some(self.used.len() - 1)
        })?;
        u8::try_from(index).ok()
    }
}
