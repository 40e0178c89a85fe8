//! The hashes of an image: of the whole, and of each block.

use std::io;
use std::thread;

use super::blocks::Snapshot;
use super::worker_pool::WorkerPool;
use crate::block::BlockRange;
use crate::digest::{RunningHash, Sha256Digest};
use crate::wire::InstallInfo;
use crate::writer::section::{BLOCK, BLOCK_LEN};

/// Blocks that are read at a time.
const STRIPE: u64 = 256;

/// An image's length and hashes.
pub(super) struct BlockHashes {
    pub(super) len: u64,
    pub(super) sha256: Sha256Digest,
    /// Of each block, the last one filled up with zeros.
    pub(super) blocks: Vec<Sha256Digest>,
}

impl BlockHashes {
    /// Reads all of `image`, twice at a time.
    pub(super) fn of(image: &Snapshot<'_>, workers: &WorkerPool) -> io::Result<Self> {
        thread::scope(|scope| {
            let whole = scope.spawn(|| whole(image));
            let blocks = blocks(image, workers);
            let whole = whole
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok(Self {
                len: image.len(),
                sha256: whole?,
                blocks: blocks?,
            })
        })
    }

    pub(super) fn info(&self) -> InstallInfo {
        InstallInfo {
            size: Some(self.len),
            hash: Some(self.sha256.as_bytes().to_vec()),
        }
    }
}

/// The pieces an image is read by.
pub(super) fn stripes(image: &Snapshot<'_>) -> Vec<BlockRange> {
    let starts = (0..image.blocks()).step_by(usize::try_from(STRIPE).unwrap_or(usize::MAX));
    let end = |start: u64| (start + STRIPE).min(image.blocks());
    starts
        .filter_map(|start| BlockRange::new(start, end(start)))
        .collect()
}

fn whole(image: &Snapshot<'_>) -> io::Result<Sha256Digest> {
    let mut sha256 = RunningHash::default();
    for stripe in stripes(image) {
        let bytes = image.read(stripe)?;
        let left = image.len() - stripe.start() * BLOCK;
        let inside = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        sha256.update(&bytes[..inside]);
    }
    Ok(sha256.value())
}

fn blocks(image: &Snapshot<'_>, workers: &WorkerPool) -> io::Result<Vec<Sha256Digest>> {
    let stripes = stripes(image);
    let mut parts = vec![Vec::new(); stripes.len()];
    let digest = |stripe: usize| {
        let bytes = image.read(stripes[stripe])?;
        let (blocks, _) = bytes.as_chunks::<BLOCK_LEN>();
        Ok(blocks.iter().map(|block| Sha256Digest::of(block)).collect())
    };
    workers.run(
        &vec![0; stripes.len()],
        digest,
        |stripe, digests: io::Result<_>| {
            parts[stripe] = digests?;
            Ok::<_, io::Error>(())
        },
    )?;
    Ok(parts.concat())
}
