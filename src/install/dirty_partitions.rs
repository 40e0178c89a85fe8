//! Extra partitions that an attempt has begun to write and none has completed yet.
//!
//! A payload need not bring every partition that has a target. One that it leaves out keeps what it
//! holds, unless an attempt at another payload was cut while it wrote there: then it gets the
//! content of the running slot's, as the kernel does that isn't brought.
//!
//! Order of the writes, and what a cut between leaves:
//! 1. the record names the partitions, before the slot becomes unbootable: whole ones, copied
//!    without need at worst;
//! 2. they are written: torn, and on record, beside a slot that doesn't boot;
//! 3. the slot boots next: what is on record is whole, brought by this payload or copied, and read
//!    back;
//! 4. the record forgets them: without this the next attempt copies without need.
//!
//! A record that can't be read means that all may be torn.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

use payload_format::{ImageKind, Manifest, PartitionName};
use tokio_util::sync::CancellationToken;

use super::InstallError;
use super::attempt::AttemptSetup;
use super::read_back::ReadBack;
use super::targets::{Targets, path_of_partition};
use crate::disk::{OpenPair, PairError};
use crate::plan::ExtraPartition;
use crate::store::record::{self, RecordError, Version};

const FILE: &str = "/var/lib/update_engine/install/torn";
const VERSION: Version = Version(1);

/// Copied at once.
const PIECE: usize = 1 << 20;

/// Pieces between two syncs, so that little is dirty at a time.
const PIECES: u64 = 16;

/// What `manifest` brings is torn from here on.
///
/// # Errors
/// If that can't be kept; nothing may be written then.
pub(super) fn begin(attempt: &AttemptSetup, manifest: &Manifest) -> Result<(), RecordError> {
    let brought = attempt.plan.extra_partitions.iter();
    let brought = brought.filter(|target| manifest.image(ImageKind::ExtraPartition(target.name)).is_some());
    change(attempt, |dirty_partitions| {
        dirty_partitions.extend(brought.map(|target| place(attempt, target)));
    })
}

/// The slot boots next, and what has a target is whole. Failing to remember that is logged: it
/// costs a copy.
pub(super) fn end(attempt: &AttemptSetup) {
    let targets = || {
        attempt
            .plan
            .extra_partitions
            .iter()
            .map(|target| place(attempt, target))
    };
    let ended = change(attempt, |dirty_partitions| {
        dirty_partitions.retain(|place| !targets().any(|target| target == *place));
    });
    if let Err(error) = ended {
        tracing::warn!(
            error = &error as &dyn Error,
            "partitions beside the slot still count as torn"
        );
    }
}

/// The partitions that `manifest` leaves out and that are torn.
///
/// # Errors
/// One of them can't be opened, or is smaller than the running one's.
pub(super) fn left_out<'a>(
    attempt: &AttemptSetup,
    manifest: &Manifest,
    targets: &'a Targets,
) -> Result<Vec<(PartitionName, &'a OpenPair)>, InstallError> {
    let dirty_partitions = load(attempt);
    let dirty = attempt.plan.extra_partitions.iter().filter(|target| {
        dirty_partitions.contains(&place(attempt, target))
            && manifest.image(ImageKind::ExtraPartition(target.name)).is_none()
    });
    dirty.map(|target| open(target.name, targets)).collect()
}

fn open(name: PartitionName, targets: &Targets) -> Result<(PartitionName, &OpenPair), InstallError> {
    let pair = targets.extra_partitions.pair(name)?;
    let (available, needed) = (pair.target.len(), pair.source.len());
    if available < needed {
        let source = Arc::new(PairError::TooSmall { available, needed });
        return Err(InstallError::Target { name, source });
    }
    Ok((name, pair))
}

/// Copies what [`left_out`] gave, and reads it back from the medium.
///
/// # Errors
/// Reading, writing or syncing fails, what was read back differs, or `cancel` was called.
pub(super) fn copy(
    attempt: &AttemptSetup,
    (name, pair): (PartitionName, &OpenPair),
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    let (path, size) = (path_of_partition(attempt, name), pair.source.len());
    tracing::info!(path = %path.display(), "an earlier attempt has torn it: it becomes a copy of the running slot's");
    let mut buffer = vec![0; PIECE];
    for (nth, offset) in (0..size).step_by(PIECE).enumerate() {
        if cancel.is_cancelled() {
            return Err(InstallError::Cancelled);
        }
        let left = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        let piece = &mut buffer[..left];
        let read = pair.source.read_at(piece, offset);
        read.map_err(InstallError::io("reading the running slot's", &path.display()))?;
        let written = pair.target.write_at(piece, offset).and_then(|()| {
            if (nth as u64 + 1).is_multiple_of(PIECES) {
                pair.target.sync()?;
                pair.target.forget(0, size);
            }
            Ok(())
        });
        written.map_err(InstallError::io("writing", &path.display()))?;
    }
    compare(attempt, (name, pair), cancel)
}

fn compare(
    attempt: &AttemptSetup,
    (name, pair): (PartitionName, &OpenPair),
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    let (path, size) = (path_of_partition(attempt, name), pair.source.len());
    let digest = |image| {
        let read = ReadBack::new(Arc::clone(image), size).finish(cancel);
        let read = read.map_err(InstallError::io("reading back", &path.display()));
        read?.ok_or(InstallError::Cancelled)
    };
    let (found, sha256) = (digest(&pair.target)?, digest(&pair.source)?);
    if found == sha256 {
        return Ok(());
    }
    Err(InstallError::FileVerification {
        image: ImageKind::ExtraPartition(name),
        path,
        expected: Box::new(payload_format::ImageInfo { size, sha256 }),
        found,
        size,
    })
}

/// Changes the record, if it says something else then. Nodes without targets have none.
fn change(attempt: &AttemptSetup, change: impl FnOnce(&mut BTreeSet<String>)) -> Result<(), RecordError> {
    if attempt.plan.extra_partitions.is_empty() {
        return Ok(());
    }
    let before = load(attempt);
    let mut dirty_partitions = before.clone();
    change(&mut dirty_partitions);
    let path = attempt.path(FILE);
    if dirty_partitions.is_empty() {
        return record::remove(&path);
    }
    if dirty_partitions == before {
        return Ok(());
    }
    let lines: Vec<_> = dirty_partitions.into_iter().collect();
    record::save(&path, VERSION, lines.join("\n").as_bytes())
}

fn load(attempt: &AttemptSetup) -> BTreeSet<String> {
    let targets = &attempt.plan.extra_partitions;
    if targets.is_empty() {
        return BTreeSet::new();
    }
    match record::load(&attempt.path(FILE), VERSION) {
        Ok(contents) => {
            let contents = contents.unwrap_or_default();
            let lines = contents
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            lines
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect()
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn Error,
                "partitions beside the slot count as torn"
            );
            targets.iter().map(|target| place(attempt, target)).collect()
        }
    }
}

/// What tells a partition apart: its path, with the letter of the slot that is written.
fn place(attempt: &AttemptSetup, target: &ExtraPartition) -> String {
    target.pair.path(attempt.plan.target)
}
