//! Blocks that no operation wrote: copied from the old image when all operations are done.

use payload_format::{BlockRange, Image, ImageKind, Manifest};
use tokio_util::sync::CancellationToken;

use super::images::OpenImages;
use crate::install::InstallError;
use crate::install::attempt::AttemptSetup;
use crate::install::targets::KernelTarget;

/// Blocks copied between two syncs: 16 MiB of 4096 bytes, so that little is dirty at a time.
const STEP: u64 = 4096;

/// Copies the blocks that no operation wrote from the running slot, and the running kernel if the
/// payload brings none: the file would be that of an older version otherwise. Both read the running
/// slot only, so that a cut repeats them.
///
/// # Errors
/// Anything that can't be copied, or `cancel` was called.
pub(in crate::install) fn copy(
    attempt: &AttemptSetup,
    manifest: &Manifest,
    images: &OpenImages,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    for image in manifest.images() {
        unwritten(image, images, cancel)?;
    }
    if manifest.image(ImageKind::Kernel).is_some() {
        return Ok(());
    }
    KernelTarget(attempt).copy_running()
}

fn unwritten(image: &Image, images: &OpenImages, cancel: &CancellationToken) -> Result<(), InstallError> {
    let mut dirty = 0;
    for blocks in image.unwritten.iter().flat_map(|range| pieces(*range)) {
        if cancel.is_cancelled() {
            return Err(InstallError::Cancelled);
        }
        images.copy(image.kind, blocks)?;
        dirty += blocks.count();
        if dirty >= STEP {
            images.sync()?;
            dirty = 0;
        }
    }
    Ok(())
}

fn pieces(range: BlockRange) -> impl Iterator<Item = BlockRange> {
    let starts = std::iter::successors(Some(range.start()), |start| start.checked_add(STEP));
    starts.map_while(move |start| BlockRange::new(start, range.end().min(start.saturating_add(STEP))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_range_without_gap_or_overlap() {
        let range = BlockRange::new(5, 5 + 2 * STEP + 1).unwrap();
        let bounds: Vec<_> = pieces(range).map(|p| (p.start(), p.end())).collect();
        let (first, second) = (5 + STEP, 5 + 2 * STEP);
        assert_eq!(bounds, [(5, first), (first, second), (second, second + 1)]);
    }
}
