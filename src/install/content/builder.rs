//! The thread that has the images of a content package built, and reads them back.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use payload_format::{ContentBuilder, Event, ImageKind, Manifest, Streamed};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::supply::Supply;
use super::survey::Survey;
use super::{ContentFailure, PIECE, interrupted};
use crate::fetch::FetchError;
use crate::install::attempt::AttemptSetup;
use crate::install::pace::PressureThrottle;
use crate::install::pipeline::images::{NewBlocks, OpenImages};
use crate::install::pipeline::{Written, unwritten_blocks};
use crate::install::read_back::ReadBack;
use crate::install::targets::Targets;
use crate::install::unbootable::{self, Beginning};
use crate::install::{InstallError, dirty_partitions};
use crate::plan::ContentPackage;

/// How often it is asked whether a node under pressure is so still, and whether somebody has
/// cancelled meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// Bytes of content between two looks at pressure: as many as an operation mostly has.
const STEP: u64 = 1 << 20;

/// What is built for whom.
pub(super) struct Builder {
    pub(super) attempt: Arc<AttemptSetup>,
    pub(super) targets: Arc<Targets>,
    pub(super) package: ContentPackage,
    pub(super) cancel: CancellationToken,
}

impl Builder {
    /// Builds all images; `pieces` are the bytes of the survey's ranges. What is given is on the
    /// medium, and has the manifest's hashes.
    ///
    /// # Errors
    /// Whatever went wrong. The slot was not touched, or is unbootable.
    pub(super) fn build(
        self,
        mut survey: Survey,
        pieces: Receiver<Result<Bytes, FetchError>>,
    ) -> Result<Written, ContentFailure> {
        let (attempt, manifest) = (&self.attempt, Arc::clone(&survey.manifest));
        // From here on the slot is ours, and nobody's to boot. Nothing is recorded in what this
        // gives: what a cut leaves is found by its hashes.
        unbootable::make_unbootable(attempt, &manifest, &survey.metadata, Beginning::Fresh)?;
        interrupted::begin(attempt, &self.package, &survey.metadata);
        let images = OpenImages::open(attempt, &manifest, &self.targets)?;
        let mut supply = Supply::new(pieces, std::mem::take(&mut survey.ranges));
        self.operations(&mut survey, &images, &mut supply)?;
        self.content(&mut survey, &images, &mut supply)?;
        unwritten_blocks::copy(attempt, &manifest, &images, &self.cancel)?;
        for dirty in dirty_partitions::left_out(attempt, &manifest, &self.targets)? {
            dirty_partitions::copy(attempt, dirty, &self.cancel)?;
        }
        images.sync()?;
        let read_back = self.read_back(&manifest)?;
        Ok(Written { manifest, read_back })
    }

    /// Carries out the operations, which make the images beside the slot's, one after the other.
    fn operations(
        &self,
        survey: &mut Survey,
        images: &OpenImages,
        supply: &mut Supply,
    ) -> Result<(), ContentFailure> {
        let (mut place, end) = (survey.metadata.len() as u64, survey.first_chunk());
        let (mut streamed, mut throttle) = (None, PressureThrottle::default());
        loop {
            while let Some(event) = survey.reader.read(&mut &[][..])? {
                carry_out(event, images, &mut streamed)?;
            }
            if place == end {
                return Ok(());
            }
            self.pause(&mut throttle)?;
            let len = usize::try_from(end - place).unwrap_or(PIECE).min(PIECE);
            let bytes = supply.take(place, len)?;
            place += len as u64;
            let mut input: &[u8] = &bytes;
            while let Some(event) = survey.reader.read(&mut input)? {
                carry_out(event, images, &mut streamed)?;
            }
        }
    }

    /// Makes the slot's image of its content, and the images that are part of it.
    fn content(
        &self,
        survey: &mut Survey,
        images: &OpenImages,
        supply: &mut Supply,
    ) -> Result<(), ContentFailure> {
        let target = Arc::new(NewBlocks::new(Arc::clone(&self.targets.slot)));
        let image_len = survey.manifest.partition().new.size;
        let builder = ContentBuilder::new(Arc::clone(&survey.tables), image_len, target);
        let workers = NonZeroUsize::new(self.attempt.site.pace.workers).unwrap_or(NonZeroUsize::MIN);
        let mut builder = builder.with_threads(workers).with_copies(images.content_copies());
        match self.take_chunks(&mut builder, survey, supply) {
            Ok(()) => Ok(builder.finish()?),
            Err(failure) => {
                // The next attempt finds what is written. Whatever else has failed, the payload is
                // fetched, which begins anew.
                if self.cancel.is_cancelled()
                    && let Err(error) = builder.interrupt()
                {
                    tracing::warn!(
                        error = &error as &dyn Error,
                        "what has come of the package is not written"
                    );
                }
                Err(failure)
            }
        }
    }

    /// Hands all chunks to `builder`, in their order.
    fn take_chunks(
        &self,
        builder: &mut ContentBuilder,
        survey: &mut Survey,
        supply: &mut Supply,
    ) -> Result<(), ContentFailure> {
        let slot = self.attempt.plan.target;
        let (first_chunk, mut unlooked) = (survey.first_chunk(), STEP);
        let mut place = first_chunk;
        let mut throttle = PressureThrottle::default();
        while let Some((number, chunk)) = builder.due() {
            if unlooked >= STEP {
                self.pause(&mut throttle)?;
                unlooked = 0;
            }
            unlooked += u64::from(chunk.len);
            let made = survey.patched.take(number, &mut survey.old, |place, len| {
                supply.take(first_chunk.saturating_add(place), len as usize)
            })?;
            if let Some(content) = made {
                builder.take(content)?;
            } else if survey.old.has(number) {
                let content = survey.old.read(number).map_err(ContentFailure::Running)?;
                builder.take(&content.ok_or(ContentFailure::Changed(number))?)?;
            } else if let Some(written) = survey.written.as_mut().filter(|written| written.has(number)) {
                let content = written.read(number).map_err(InstallError::io("reading", &slot))?;
                builder.take(&content.ok_or(ContentFailure::WrittenChanged(number))?)?;
            } else {
                let len = usize::try_from(chunk.packed_len).unwrap_or(usize::MAX);
                builder.take_packed(&supply.take(place, len)?)?;
            }
            place += u64::from(chunk.packed_len);
        }
        Ok(())
    }

    /// Reads all images back from the medium: the slot, whose hash is not taken a second time, and
    /// the others.
    fn read_back(&self, manifest: &Manifest) -> Result<ReadBack, ContentFailure> {
        let (slot, name) = (&self.targets.slot, self.attempt.plan.target);
        let new = manifest.partition().new;
        let failed = || InstallError::io("reading back", &name);
        slot.sync().map_err(InstallError::io("syncing", &name))?;
        slot.forget(0, slot.len());
        let mut read_back = ReadBack::new(Arc::clone(slot), new.size);
        if !read_back.advance(new.size, &self.cancel).map_err(failed())? {
            return Err(InstallError::Cancelled.into());
        }
        let found = read_back.so_far();
        if found != new.sha256 {
            let (slot, expected) = (name, new.sha256);
            return Err(InstallError::SlotVerification {
                slot,
                expected,
                found,
            }
            .into());
        }
        for image in manifest.images() {
            if image.kind != ImageKind::Slot {
                let target = self.targets.of(&self.attempt, image.kind)?;
                target.verify(image.new, None, &self.cancel)?;
            }
        }
        Ok(read_back)
    }

    /// Waits while the node is under pressure, as long as that may hold an update up.
    fn pause(&self, throttle: &mut PressureThrottle) -> Result<(), ContentFailure> {
        let (limits, host) = (self.attempt.site.pace.pressure, &self.attempt.site.host);
        let under_pressure = || host.under_pressure(&limits).is_some();
        while !self.cancel.is_cancelled() {
            if limits.is_none() || !throttle.holds(Instant::now(), under_pressure) {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        Err(InstallError::Cancelled.into())
    }
}

fn carry_out(
    event: Event,
    images: &OpenImages,
    streamed: &mut Option<Streamed>,
) -> Result<(), ContentFailure> {
    let failed = InstallError::Apply;
    match event {
        Event::Operation { op, data } => images.apply(op, &data).map_err(failed)?,
        Event::Piece { op, data } => {
            if streamed.is_none() {
                *streamed = Some(images.stream(op).map_err(failed)?);
            }
            if let Some(streamed) = streamed {
                streamed.write(&data).map_err(failed)?;
            }
        }
        Event::PiecesVerified { .. } => {
            if let Some(streamed) = streamed.take() {
                streamed.finish().map_err(failed)?;
            }
        }
        // The one has come before; of the other nothing is handed to the reader.
        Event::Metadata { .. } | Event::Content { .. } => {}
    }
    Ok(())
}
