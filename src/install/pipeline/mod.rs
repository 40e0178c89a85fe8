//! The download: network, reader, workers and medium at the same time. Drawn in [`crate::install`].

mod coordinator;
mod feed;
pub(super) mod images;
mod messages;
mod read_back_thread;
mod reader_input;
pub(super) mod unwritten_blocks;
mod work;
mod worker_pool;

use std::error::Error;
use std::sync::{Arc, mpsc};

use payload_format::{Checkpoint, FormatError, Limits, Manifest, Reader};
use tokio_util::sync::CancellationToken;

use self::coordinator::{Coordinator, StartPoint};
use self::feed::Feed;
use super::InstallError;
use super::attempt::{AttemptSetup, at_work};
use super::read_back::ReadBack;
use super::saved::Saved;
use super::targets::Targets;
use crate::fetch::{Entity, FetchRequest};

/// A payload whose hash and signature are right, and whose images are on the medium.
pub(super) struct Written {
    pub(super) manifest: Arc<Manifest>,
    /// What of the slot was read back already.
    pub(super) read_back: ReadBack,
}

/// Downloads the payload into the targets, from `saved` on if there is such a thing.
///
/// # Errors
/// Whatever ends the attempt.
pub(super) async fn run(
    attempt: &Arc<AttemptSetup>,
    targets: &Arc<Targets>,
    saved: Option<Saved>,
    progress: &mut (dyn FnMut(u64) + Send),
    cancel: &CancellationToken,
) -> Result<Written, InstallError> {
    let (start, entity) = beginning(attempt, targets, saved);
    let resumed_at = start.offset();
    let request = request(attempt, resumed_at, entity);
    let stream = tokio::select! {
        stream = attempt.site.fetcher.open(request) => stream.map_err(InstallError::Fetch)?,
        () = cancel.cancelled() => return Err(InstallError::Cancelled),
    };
    let encoding = stream.encoding();
    let (outlet, messages) = mpsc::channel();
    let coordinator = Coordinator {
        attempt: Arc::clone(attempt),
        targets: Arc::clone(targets),
        entity: stream.entity().cloned(),
        outlet: outlet.clone(),
        cancel: cancel.clone(),
    };
    let mut ended = std::pin::pin!(at_work(attempt.site.pace.priority, move || coordinator
        .run(start, &messages)));
    let feed = Feed {
        stream,
        outlet,
        read_ahead: attempt.site.pace.read_ahead,
        resumed_at,
        progress,
        cancel,
    };
    let explained = |ended: Result<_, InstallError>| {
        ended.map_err(|error| targets.extra_partitions.explain(error.came_in(encoding.get())))
    };
    // Dropping the feed tells the coordinator that nothing more comes.
    tokio::select! {
        written = &mut ended => return explained(written),
        () = feed.run() => {}
    }
    explained(ended.await)
}

/// Where reading begins, and which file the part before came from. A checkpoint that can't be used
/// is as good as none.
fn beginning(
    attempt: &AttemptSetup,
    targets: &Targets,
    saved: Option<Saved>,
) -> (StartPoint, Option<Entity>) {
    let limits = limits(attempt, targets);
    if let Some(saved) = saved {
        let entity = saved.entity.clone();
        match resume(limits, saved) {
            Ok(start) => return (start, entity),
            Err(error) => tracing::warn!(
                error = &error as &dyn Error,
                "starting over: the checkpoint can't be used"
            ),
        }
    }
    (StartPoint::Fresh(Reader::new(limits)), None)
}

/// What a payload may ask for here.
pub(super) fn limits(attempt: &AttemptSetup, targets: &Targets) -> Limits {
    Limits {
        payload_size: Some(attempt.plan.payload_size),
        metadata_size: attempt.plan.metadata.as_ref().map(|claim| claim.size),
        extra_partitions: targets.extra_partitions.limits(),
        ..Limits::for_slot(targets.slot.len())
    }
}

fn resume(limits: Limits, saved: Saved) -> Result<StartPoint, FormatError> {
    let checkpoint = Checkpoint::from_bytes(&saved.reader)?;
    let (reader, manifest) = Reader::resume(limits, &saved.metadata, &checkpoint)?;
    Ok(StartPoint::Resumed {
        reader,
        manifest,
        metadata: saved.metadata,
        checkpoint: Box::new(checkpoint),
    })
}

/// What is asked of the payload's server, from byte `start` on.
pub(super) fn request(attempt: &AttemptSetup, start: u64, entity: Option<Entity>) -> FetchRequest {
    FetchRequest {
        url: attempt.plan.url.clone(),
        fallbacks: attempt.plan.fallback_urls.clone(),
        start,
        entity,
        size: attempt.plan.payload_size,
        credentials: attempt.plan.credentials.clone(),
    }
}
