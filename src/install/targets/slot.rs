//! The slot as an image target.

use std::sync::Arc;

use payload_format::{Image, ImageInfo};
use tokio_util::sync::CancellationToken;

use super::{ImageDevice, ImageTarget, hash, source_hash};
use crate::disk::SlotName;
use crate::install::InstallError;
use crate::install::attempt::AttemptSetup;
use crate::install::read_back::ReadBack;

/// The slot that doesn't run; deltas are made from the running one.
pub(super) struct SlotTarget<'a> {
    attempt: &'a AttemptSetup,
    device: &'a ImageDevice,
}

impl<'a> SlotTarget<'a> {
    pub(super) const fn new(attempt: &'a AttemptSetup, device: &'a ImageDevice) -> Self {
        Self { attempt, device }
    }

    const fn slot(&self) -> SlotName {
        self.attempt.plan.target
    }

    fn running(&self) -> Result<(SlotName, ImageDevice), InstallError> {
        let slot = !self.slot();
        match self.attempt.site.slots.open_source(slot) {
            Ok(device) => Ok((slot, device)),
            Err(source) => Err(InstallError::Open { slot, source }),
        }
    }
}

impl ImageTarget for SlotTarget<'_> {
    fn name(&self) -> String {
        self.slot().to_string()
    }

    fn open_source(&self, image: &Image) -> Result<Option<ImageDevice>, InstallError> {
        if !image.is_delta() {
            return Ok(None);
        }
        self.running().map(|(_, device)| Some(device))
    }

    fn open(&self, _: &Image) -> Result<ImageDevice, InstallError> {
        Ok(Arc::clone(self.device))
    }

    fn check_source(&self, old: &ImageInfo, cancel: &CancellationToken) -> Result<(), InstallError> {
        let (slot, source) = self.running()?;
        if source.len() < old.size {
            return Err(InstallError::SourceTooSmall {
                slot,
                expected: old.size,
                available: source.len(),
            });
        }
        let found = source_hash(source, old.size, &slot, cancel)?;
        if found == old.sha256 {
            return Ok(());
        }
        Err(InstallError::WrongSource {
            slot,
            expected: old.sha256,
            found,
        })
    }

    fn verify(
        &self,
        new: ImageInfo,
        begun: Option<ReadBack>,
        cancel: &CancellationToken,
    ) -> Result<(), InstallError> {
        let slot = self.slot();
        let begun = begun.unwrap_or_else(|| ReadBack::new(Arc::clone(self.device), new.size));
        let found = hash(begun, &slot, cancel)?;
        if found == new.sha256 {
            return Ok(());
        }
        Err(InstallError::SlotVerification {
            slot,
            expected: new.sha256,
            found,
        })
    }
}
