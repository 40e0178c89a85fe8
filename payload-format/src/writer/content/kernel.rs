//! The kernel within the image: where the image holds the same file, its content is the kernel's,
//! and the kernel needs no data of its own.

use std::io;

use crate::block::BlockRange;
use crate::content::{self, FoundPiece};
use crate::digest::{RunningHash, Sha256Digest};
use crate::writer::Snapshot;
use crate::writer::section::{BLOCK, BLOCK_LEN};

/// Where the kernel begins in the image, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KernelPlace {
    /// The block that its first bytes are in.
    pub(super) block: u64,
    /// Bytes of the kernel.
    pub(super) len: u64,
    /// Of all of it.
    pub(super) sha256: Sha256Digest,
}

/// Looks for the kernel in the image's content, where a file's content is in one piece.
///
/// # Errors
/// Those of either snapshot.
pub(super) fn find(
    image: Snapshot<'_>,
    kernel: Snapshot<'_>,
    sha256: Sha256Digest,
    without: Option<BlockRange>,
) -> io::Result<Option<KernelPlace>> {
    let mut search = KernelSearch {
        kernel,
        beginning: read(kernel, 0, BLOCK_LEN)?,
        candidate: None,
    };
    let (blocks, len) = image.parts();
    if search.beginning.is_empty() {
        return Ok(None);
    }
    content::scan::<io::Error>(blocks, len, without, &mut |found| search.piece(found))?;
    let complete = search.candidate.filter(|(_, matched)| *matched == kernel.len());
    Ok(complete.map(|(block, len)| KernelPlace { block, len, sha256 }))
}

struct KernelSearch<'a> {
    kernel: Snapshot<'a>,
    /// Its first block, or all of it.
    beginning: Vec<u8>,
    /// The block where it seems to begin, and how many of its bytes are there as they should be.
    candidate: Option<(u64, u64)>,
}

impl KernelSearch<'_> {
    fn piece(&mut self, found: FoundPiece<'_>) -> io::Result<()> {
        let content = found.content();
        if let Some((block, matched)) = self.candidate {
            self.candidate = self.goes_on(matched, content)?.map(|matched| (block, matched));
        }
        // A file begins with a block, and a compressed extent holds that of one.
        let last = found.decoded.map_or(content.len(), |_| 1);
        for at in (0..last).step_by(BLOCK_LEN) {
            if self.candidate.is_some() {
                return Ok(());
            }
            if content[at..].starts_with(&self.beginning) {
                let block = found.blocks.start() + at as u64 / BLOCK;
                let matched = self.goes_on(0, &content[at..])?;
                self.candidate = matched.map(|matched| (block, matched));
            }
        }
        Ok(())
    }

    /// How many bytes match with `content`, if `matched` did before it; `None` if it differs.
    fn goes_on(&self, matched: u64, content: &[u8]) -> io::Result<Option<u64>> {
        let expected = read(self.kernel, matched, content.len())?;
        let matched = matched + expected.len() as u64;
        Ok(content.starts_with(&expected).then_some(matched))
    }
}

/// At most `len` bytes; fewer at the end.
fn read(kernel: Snapshot<'_>, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let left = kernel.len().saturating_sub(offset);
    let mut bytes = vec![0; usize::try_from(left).map_or(len, |left| left.min(len))];
    if !bytes.is_empty() {
        kernel.read_bytes(offset, &mut bytes)?;
    }
    Ok(bytes)
}

/// Follows the content as it is sent: whether the kernel is really part of it, and where.
pub(super) struct KernelTracker {
    place: KernelPlace,
    /// The first byte of content that is the kernel's.
    start: Option<u64>,
    /// Bytes of the kernel that are still to come.
    left: u64,
    sha256: RunningHash,
}

impl KernelTracker {
    pub(super) fn new(place: KernelPlace) -> Self {
        Self {
            place,
            start: None,
            left: place.len,
            sha256: RunningHash::default(),
        }
    }

    /// Takes content that was found in `blocks` and follows the first `before` bytes.
    pub(super) fn take(&mut self, blocks: BlockRange, before: u64, content: &[u8]) {
        let mut content = content;
        if self.start.is_none() {
            if !(blocks.start()..blocks.end()).contains(&self.place.block) {
                return;
            }
            let skip = (self.place.block - blocks.start()) * BLOCK;
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            content = content.get(skip..).unwrap_or_default();
            self.start = Some(before + skip as u64);
        }
        let len = usize::try_from(self.left).map_or(content.len(), |left| left.min(content.len()));
        self.sha256.update(&content[..len]);
        self.left -= len as u64;
    }

    /// Where the kernel's content begins, if it is all there.
    pub(super) fn start(&self) -> Option<u64> {
        let is_kernel = self.left == 0 && self.sha256.value() == self.place.sha256;
        self.start.filter(|_| is_kernel)
    }
}
