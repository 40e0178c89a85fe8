//! The sketch of an old image's content: which chunks it has, and a sample of hashes that finds what is
//! similar to a piece of the new content.
//!
//! A hash rolls over the bytes and depends on the last 24 of them: less than what stands between two
//! addresses of a program, which differ after it was built again. One place in 64 or so is kept.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Range;

use crate::content::{self, ChunkHash, Chunker, ChunkerParams, ContentMark, ContentPieces, MarkBuilder};
use crate::writer::Snapshot;

/// Bytes that a hash depends on.
const WINDOW: usize = 24;

/// Zeros that the hash of a place that is kept begins with.
const ZEROS: u32 = 6;

/// What stands at more places than this says nothing about where it came from.
const COMMON: usize = 8;

/// Bytes of old content that are chosen or left out together.
pub(super) const BUCKET: u64 = 32 << 10;

/// Bits of a bucket's number: of old content of 512 GiB.
const BUCKET_BITS: u32 = 24;

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// See the module.
pub(super) struct OldSketch {
    /// All chunks but the last, which goes on in whatever lies behind the image.
    pub(super) mark: ContentMark,
    pub(super) pieces: ContentPieces,
    chunks: HashSet<ChunkHash>,
    /// A hash, and below it the bucket: in [`BUCKET_BITS`].
    places: Vec<u64>,
}

impl OldSketch {
    /// Looks through an image, as a node will.
    ///
    /// # Errors
    /// The image's.
    pub(super) fn of(image: Snapshot<'_>, params: ChunkerParams) -> io::Result<Self> {
        let (blocks, len) = image.parts();
        let mut chunker = Chunker::new(params);
        let (mut marks, mut chunks) = ((MarkBuilder::default(), MarkBuilder::default()), HashSet::new());
        let (mut pieces, mut places) = (ContentPieces::default(), Vec::new());
        let mut take = |chunk: &[u8]| {
            let hash = ChunkHash::of(chunk);
            chunks.insert(hash);
            let start = marks.1.len();
            kept(chunk, |hash, at| {
                let bucket = (start + at as u64) / BUCKET;
                // Longer content is compared up to there.
                if bucket >> BUCKET_BITS == 0 {
                    places.push(hash | bucket);
                }
            });
            marks.0 = marks.1.clone();
            marks.1.chunk(hash, chunk.len());
            Ok(())
        };
        content::scan::<io::Error>(blocks, len, None, &mut |found| {
            if found.begins_unit {
                chunker.end_unit(&mut take)?;
            }
            let content = found.content();
            pieces.push(found.blocks, found.decoded.is_some(), content.len() as u64);
            chunker.push(content, &mut take)
        })?;
        chunker.end_unit::<io::Error>(&mut take)?;
        places.sort_unstable();
        places.dedup();
        Ok(Self {
            mark: marks.0.mark(),
            pieces,
            chunks,
            places,
        })
    }

    pub(super) fn has(&self, chunk: ChunkHash) -> bool {
        self.chunks.contains(&chunk)
    }

    /// The parts of the old content that have most in common with `bytes`, in order: `room` bytes at
    /// most.
    pub(super) fn sources(&self, bytes: &[u8], room: u64) -> Vec<Range<u64>> {
        let mut votes: Vec<_> = self.votes(bytes).into_iter().collect();
        // Most votes first; of equal ones, the first place.
        votes.sort_by_key(|(bucket, votes)| (std::cmp::Reverse(*votes), *bucket));
        let (mut chosen, most) = (std::collections::BTreeSet::new(), room / BUCKET);
        for (bucket, votes) in votes {
            // Its neighbours, too: what is similar begins and ends anywhere.
            let around = bucket.saturating_sub(1)..=bucket + 1;
            let more = around.clone().filter(|bucket| !chosen.contains(bucket)).count();
            if votes < FULL || chosen.len() as u64 + more as u64 > most {
                break;
            }
            chosen.extend(around);
        }
        let mut sources: Vec<Range<u64>> = Vec::new();
        for bucket in chosen {
            let (start, end) = (bucket * BUCKET, ((bucket + 1) * BUCKET).min(self.mark.len));
            match sources.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ if start < end => sources.push(start..end),
                _ => {}
            }
        }
        sources
    }

    /// How much each bucket has in common with `bytes`.
    fn votes(&self, bytes: &[u8]) -> BTreeMap<u64, u64> {
        let mut votes = BTreeMap::new();
        kept(bytes, |hash, _| {
            let first = self.places.partition_point(|place| *place < hash);
            let same = self.places[first..].iter().map(|place| place ^ hash);
            let same = same.take_while(|bucket| bucket >> BUCKET_BITS == 0);
            let same: Vec<_> = same.take(COMMON + 1).collect();
            if same.len() <= COMMON {
                for bucket in &same {
                    *votes.entry(*bucket).or_default() += FULL / same.len() as u64;
                }
            }
        });
        votes
    }
}

/// The vote of a hash that stands at one place.
const FULL: u64 = 840;

/// Hands out the hashes that are kept, with zeros where a bucket stands in `places`.
fn kept(bytes: &[u8], mut take: impl FnMut(u64, usize)) {
    let out = (0..WINDOW).fold(1_u64, |power, _| power.wrapping_mul(FACTOR));
    let mut hash = 0_u64;
    for (at, byte) in bytes.iter().enumerate() {
        hash = hash.wrapping_mul(FACTOR).wrapping_add(u64::from(*byte) + 1);
        let Some(first) = at.checked_sub(WINDOW) else {
            continue;
        };
        hash = hash.wrapping_sub(out.wrapping_mul(u64::from(bytes[first]) + 1));
        let mixed = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        if mixed.leading_zeros() >= ZEROS {
            take(mixed << ZEROS >> BUCKET_BITS << BUCKET_BITS, at);
        }
    }
}
