//! The installation of an image from an offer's content package: chunks that the running slot has are
//! copied from there, the others are fetched by ranges.
//!
//! ```text
//!  header, manifest ─▶ checks, signature ─▶ running slot looked through ─▶ what is missing, in ranges
//!                                                  a refusal up to here changes nothing │
//!  other slot unbootable, in both copies of the table ◀─────────────────────────────────┘
//!         │
//!         ▼             runtime's thread                    one thread          encoder pool
//!  operations, chunks   ranges ══1 MiB ahead══▶ unpacked ─┐
//!                               running slot ──────────────┴─▶ hashed ══▶ encoded ══▶ written in order
//!                                                                                        │
//!                                        synced, read back: the manifest's hash decides ◀┘
//! ```
//!
//! What makes it safe, whatever server and running slot hold:
//!
//! - *Trust.* The signature of the metadata by a trusted key covers every hash: those of chunks, of
//!   operations' data and of images. The payload's own signature and its hash in the offer are not
//!   looked at: they are of all bytes, of which most are left out.
//! - *Order.* What is written before the slot is unbootable, and what a cut leaves, is as for the
//!   payload ([`crate::install::unbootable`]). After a cut the next attempt finds by its hashes what
//!   the slot has already, and fetches no chunk of that ([`interrupted`]).
//! - *Failures.* Whatever fails, the payload takes the place of the package, in the same attempt and
//!   with the same settings. The slot is unbootable then, or was not touched. Only a cancel ends the
//!   attempt.
//! - *Memory.* The tables, what is known of the running slot, and one operation or what
//!   [`payload_format::ContentBuilder`] takes; `docs/performance/content.md` has what that comes to.

mod builder;
mod interrupted;
mod metadata;
mod prospect;
mod supply;
mod survey;
mod tries;

pub(super) use self::prospect::prospect;

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use payload_format::{ContentError, FormatError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::builder::Builder;
use self::survey::Survey;
use super::InstallError;
use super::attempt::{AttemptSetup, at_work};
use super::pipeline::Written;
use super::targets::Targets;
use crate::fetch::{FetchError, RangeStream};
use crate::journal::chain;
use crate::plan::{ContentPackage, ContentUse};

/// Pieces that wait between the network and the builder, and bytes of each at most.
const PIECES: usize = 16;
const PIECE: usize = 64 << 10;

/// Why an image is not made of a content package.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentFailure {
    /// Something that would end an installation of the payload, too.
    #[error(transparent)]
    Install(Box<InstallError>),
    /// The package is no content payload.
    #[error("the package is no content payload")]
    NoContent,
    /// The payload is smaller than what would be fetched.
    #[error("{expected} bytes of it would be fetched, the payload has {payload}")]
    NoGain {
        /// Bytes of the package.
        expected: u64,
        /// Bytes of the payload.
        payload: u64,
    },
    /// The running slot can't be read.
    #[error("the running slot can't be read")]
    Running(#[source] std::io::Error),
    /// The running slot is read-only, and has changed all the same.
    #[error("chunk {0} is not in the running slot any more")]
    Changed(usize),
    /// The slot that is being written has changed under us.
    #[error("chunk {0} is not in the other slot any more")]
    WrittenChanged(usize),
    /// Attempts have ended with the daemon.
    #[error("the daemon or the machine has gone down in {0} attempts at it")]
    WentDown(u8),
    /// Bytes are wanted that were not asked for.
    #[error("byte {0} of the package was not asked for")]
    NotAsked(u64),
    /// The content isn't what the manifest says, or can't be written.
    #[error("the image can't be built of its content")]
    Build(#[from] ContentError),
}

impl From<InstallError> for ContentFailure {
    fn from(error: InstallError) -> Self {
        Self::Install(Box::new(error))
    }
}

impl From<FetchError> for ContentFailure {
    fn from(error: FetchError) -> Self {
        InstallError::Fetch(error).into()
    }
}

impl From<FormatError> for ContentFailure {
    fn from(error: FormatError) -> Self {
        InstallError::Format(error).into()
    }
}

/// What comes of a content package, for who watches the attempt. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct ContentLog(Arc<Mutex<Option<ContentUse>>>);

impl ContentLog {
    /// As it stands; none if there is no package, or it isn't tried.
    #[must_use]
    pub fn get(&self) -> Option<ContentUse> {
        // Plain values: a panic elsewhere cannot have left them half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes that are to be fetched of the package; none if that isn't known yet, or the payload is
    /// fetched.
    #[must_use]
    pub fn expected(&self) -> Option<u64> {
        let content = self.get().filter(|content| content.failure.is_none())?;
        content.expected
    }

    fn note(&self, note: impl FnOnce(&mut ContentUse)) {
        let mut content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(content.get_or_insert_default());
    }
}

/// Makes the image by the plan's content package; nothing is given if there is none, or it has
/// failed: then the payload is to be downloaded.
///
/// # Errors
/// [`InstallError::Cancelled`].
pub(super) async fn install(
    attempt: &Arc<AttemptSetup>,
    targets: &Arc<Targets>,
    progress: &mut (dyn FnMut(u64) + Send),
    cancel: &CancellationToken,
) -> Result<Option<Written>, InstallError> {
    let Some(package) = &attempt.plan.content else {
        return Ok(None);
    };
    let log = &attempt.content;
    log.note(|content| content.package.clone_from(&package.name));
    match make(attempt, targets, package, progress, cancel).await {
        Ok(written) => {
            let fetched = log.get().unwrap_or_default().fetched;
            tracing::info!(
                "the image was made by content package {}: {fetched} bytes were fetched, the payload has {}",
                package.name,
                attempt.plan.payload_size
            );
            Ok(Some(written))
        }
        Err(_) if cancel.is_cancelled() => Err(InstallError::Cancelled),
        Err(failure) => {
            let failure = explained(targets, failure);
            let why = chain(&failure);
            tracing::warn!("content package {} is given up: {why}", package.name);
            log.note(|content| content.failure = Some(why));
            progress(0);
            Ok(None)
        }
    }
}

/// A partition without a pair is explained as for payloads.
fn explained(targets: &Targets, failure: ContentFailure) -> ContentFailure {
    match failure {
        ContentFailure::Install(error) => targets.extra_partitions.explain(*error).into(),
        failure => failure,
    }
}

async fn make(
    attempt: &Arc<AttemptSetup>,
    targets: &Arc<Targets>,
    package: &ContentPackage,
    progress: &mut (dyn FnMut(u64) + Send),
    cancel: &CancellationToken,
) -> Result<Written, ContentFailure> {
    let (at, to, stop) = (Arc::clone(attempt), Arc::clone(targets), cancel.clone());
    let priority = attempt.site.pace.priority;
    let (of, begun) = (Arc::clone(attempt), package.clone());
    let _attempt = at_work(priority, move || tries::begin(&of, &begun)).await?;
    let fetched = tokio::select! {
        fetched = metadata::fetch(attempt, targets, package) => fetched?,
        () = cancel.cancelled() => return Err(InstallError::Cancelled.into()),
    };
    let metadata_len = fetched.fetched();
    let request = fetched.request.clone();
    attempt.content.note(|content| content.fetched = metadata_len);
    let survey = at_work(priority, move || Survey::make(&at, &to, fetched, &stop)).await?;
    let expected = survey.expected();
    attempt.content.note(|content| content.expected = Some(expected));
    progress(metadata_len);
    let (name, ranges) = (&package.name, survey.ranges.clone());
    let (has, of, patched) = (survey.chunks_there(), survey.chunks(), survey.patched.count());
    tracing::info!(
        "content package {name}: {has} of {of} chunks are in the running slot, patches of it make {patched}; {expected} bytes of the package are fetched, in {} \
         ranges, instead of the payload's {}",
        ranges.len(),
        attempt.plan.payload_size
    );
    if survey.written.is_some() {
        let written = survey.chunks_written();
        tracing::info!("{written} more are in the other slot, by an attempt that was interrupted");
    }
    let (sender, pieces) = mpsc::channel(PIECES);
    let builder = Builder {
        attempt: Arc::clone(attempt),
        targets: Arc::clone(targets),
        package: package.clone(),
        cancel: cancel.clone(),
    };
    let mut built = pin!(at_work(priority, move || builder.build(survey, pieces)));
    let stream = attempt.site.fetcher.ranges(request, ranges);
    let mut tell = |done: u64| {
        let done = metadata_len.saturating_add(done);
        attempt.content.note(|content| content.fetched = done);
        progress(done);
    };
    // Once it is dropped, the builder hears that nothing more comes.
    tokio::select! {
        built = &mut built => return built,
        () = feed(stream, sender, &mut tell) => {}
        () = cancel.cancelled() => {}
    }
    built.await
}

/// Hands on what comes, until there is no more or nobody takes it. `tell` hears how many bytes have
/// come.
async fn feed(
    mut stream: RangeStream,
    sender: mpsc::Sender<Result<Bytes, FetchError>>,
    tell: &mut (dyn FnMut(u64) + Send),
) {
    let mut done = 0_u64;
    while let Some(next) = stream.next().await {
        let mut bytes = match next {
            Ok(bytes) => bytes,
            Err(error) => {
                // Nobody listens: then the builder has an end of its own.
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        done = done.saturating_add(bytes.len() as u64);
        tell(done);
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            if sender.send(Ok(piece)).await.is_err() {
                return;
            }
        }
    }
}
