//! The sketch of an image: a sample of hashes that finds what is similar without comparing
//! everything with everything.
//!
//! A hash rolls over the bytes and depends on the last 64 of them. One place in 512 or so is kept:
//! where the hash begins with enough zeros. The same bytes are kept wherever they stand, so a few
//! places that two images share tell which regions are worth comparing, at any offset.

use std::collections::BTreeMap;
use std::io;
use std::sync::LazyLock;

use super::block_hashes::stripes;
use super::blocks::Snapshot;
use super::worker_pool::WorkerPool;
use crate::writer::section::BLOCK;

/// Zeros that the hash of a place that is kept begins with.
const ZEROS: u32 = 9;

/// What stands at more places than this says nothing about where it came from.
const COMMON: usize = 4;

/// What a byte adds to the hash: by splitmix64, from the byte's number.
static ADDENDS: LazyLock<[u64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let mut x = (byte as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    })
});

/// The places of an image that are kept.
pub(super) struct Sketch {
    /// Hash and block, in this order.
    places: Vec<(u64, u32)>,
}

impl Sketch {
    pub(super) fn of(image: &Snapshot<'_>, workers: &WorkerPool) -> io::Result<Self> {
        let stripes = stripes(image);
        let mut places = Vec::new();
        let look = |stripe: usize| {
            let range = stripes[stripe];
            let bytes = image.read(range)?;
            let mut found = Vec::new();
            kept(&bytes, |hash, at| {
                // Images of more than 2^32 blocks are compared up to there.
                if let Ok(block) = u32::try_from(range.start() + at as u64 / BLOCK) {
                    found.push((hash, block));
                }
            });
            Ok(found)
        };
        workers.run(&vec![0; stripes.len()], look, |_, found: io::Result<Vec<_>>| {
            places.extend(found?);
            Ok::<_, io::Error>(())
        })?;
        places.sort_unstable();
        places.dedup();
        Ok(Self { places })
    }

    /// Blocks that have something in common with `bytes`, and how much.
    pub(super) fn votes(&self, bytes: &[u8]) -> BTreeMap<u64, u32> {
        let mut votes = BTreeMap::new();
        kept(bytes, |hash, _| {
            let first = self.places.partition_point(|place| place.0 < hash);
            let same = self.places[first..].iter().take_while(|place| place.0 == hash);
            let same: Vec<_> = same.take(COMMON + 1).collect();
            if same.len() <= COMMON {
                for (_, block) in same {
                    *votes.entry(u64::from(*block)).or_default() += 1;
                }
            }
        });
        votes
    }
}

fn kept(bytes: &[u8], mut take: impl FnMut(u64, usize)) {
    let (addends, mut hash) = (&*ADDENDS, 0_u64);
    for (at, byte) in bytes.iter().enumerate() {
        hash = (hash << 1).wrapping_add(addends[usize::from(*byte)]);
        if hash.leading_zeros() >= ZEROS {
            take(hash, at);
        }
    }
}
