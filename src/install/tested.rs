//! The last phase: a slot whose postinst has succeeded is made the next to boot, or left staged.

use std::sync::Arc;

use super::attempt::{AttemptSetup, blocking};
use super::phases::make_unbootable_again;
use super::postinstall::PostinstOutcome;
use super::saved::Saved;
use super::staged_image::{StagedImage, VerifiedImages};
use super::{InstallError, dirty_partitions, extensions, preflight};
use crate::disk::give_back_free_memory;
use crate::store::record::RecordError;

/// The image's script agrees.
pub struct Tested {
    pub(super) attempt: Arc<AttemptSetup>,
    pub(super) images: VerifiedImages,
    pub(super) outcome: PostinstOutcome,
    pub(super) lost_extensions: Vec<String>,
}

impl Tested {
    /// The extensions merged now that the image will not merge, each in a sentence.
    #[must_use]
    pub fn lost_extensions(&self) -> &[String] {
        &self.lost_extensions
    }

    /// Makes the slot boot next, once, and reads that back.
    ///
    /// Order, and what a cut between leaves behind:
    /// 1. boot attributes (the disk's own ordered write): before it the slot is unbootable, or as
    ///    its script set it; after it the new image boots next;
    /// 2. the checkpoint is removed: without that, a later attempt at the same payload would find
    ///    it, resume at its end and verify the slot again;
    /// 3. no partition counts as torn any more: without that, one that the next payload for this
    ///    slot leaves out is copied;
    /// 4. extensions of versions in neither slot go: without that, they go with the next update.
    ///
    /// # Errors
    /// If the running slot is no longer good, or the attributes can't be written; the slot is
    /// unbootable then, as far as the disk lets it.
    pub async fn commit(self) -> Result<PostinstOutcome, InstallError> {
        let Self { attempt, outcome, .. } = self;
        blocking(move || {
            preflight::running_is_good(&attempt)
                .and_then(|()| {
                    let slot = attempt.plan.target;
                    let next = attempt.site.slots.make_next(slot);
                    next.map_err(|source| InstallError::Commit { slot, source })
                })
                .inspect_err(|_| make_unbootable_again(&attempt))?;
            end(&attempt);
            Ok(outcome)
        })
        .await
    }

    /// Leaves the slot unbootable, to be activated later; `keep` makes the record of that.
    ///
    /// Order, and what a cut between leaves behind:
    /// 1. the record: before it the slot is unbootable and nothing is known of it, so that a later
    ///    attempt resumes at the payload's end and verifies the slot again; after it the update is
    ///    staged;
    /// 2. to 4. as after [`Self::commit`].
    ///
    /// # Errors
    /// If the slot could boot, whoever saw to that, or the record can't be made; the slot is made
    /// unbootable again then.
    pub async fn stage(
        self,
        keep: impl FnOnce(StagedImage) -> Result<(), RecordError> + Send + 'static,
    ) -> Result<PostinstOutcome, InstallError> {
        let Self {
            attempt,
            images,
            outcome,
            ..
        } = self;
        blocking(move || {
            let slot = attempt.plan.target;
            let unbootable = attempt.site.slots.require_unbootable(slot);
            unbootable
                .map_err(|source| InstallError::NotUnbootable { slot, source })
                .and_then(|()| StagedImage::of(&attempt, &images, outcome))
                .and_then(|staged| keep(staged).map_err(InstallError::State))
                .inspect_err(|_| make_unbootable_again(&attempt))?;
            end(&attempt);
            Ok(outcome)
        })
        .await
    }
}

/// What an attempt that has succeeded leaves to be forgotten, see [`Tested::commit`].
fn end(attempt: &AttemptSetup) {
    Saved::discard(attempt);
    dirty_partitions::end(attempt);
    extensions::prune(attempt);
    give_back_free_memory();
}
