//! The saved attempt: two records below the state directory, from which a restarted daemon resumes.
//!
//! `manifest` holds the payload's header and manifest, so that not one byte is fetched twice.
//! `checkpoint` holds, with integers big endian:
//!
//! ```text
//!  offset  length  what
//!  0       32      SHA-256 of the payload, as offered
//!  32      8       its size in bytes
//!  40      1       letter of the slot that is written
//!  41      32      SHA-256 of the record `manifest`'s contents
//!  73      32 × t  SHA-256 of `NAME=PATH` of each of the t extra partitions that are configured; mostly none
//!  73 + …  2       length n of the entity's name; 0 if the server gave none
//!          n       the entity's name
//!          rest    the reader's own checkpoint
//! ```
//!
//! Order of the writes, and what a cut between leaves:
//! 1. the old checkpoint is removed: nothing to resume;
//! 2. the manifest is replaced: nothing to resume;
//! 3. the checkpoint is replaced, again and again: the newest that is on the medium counts, and
//!    whatever it vouches for was synced before.
//!
//! Anything that doesn't fit together, and any error, means starting over. It never fails an
//! update.

use std::error::Error;
use std::path::PathBuf;

use payload_format::Checkpoint;
use ring::digest::{SHA256, digest};

use super::attempt::AttemptSetup;
use crate::fetch::Entity;
use crate::plan::InstallPlan;
use crate::store::record::{self, RecordError, Version};

/// The payload's header and manifest, or those of the content package that is written.
pub(super) const MANIFEST: &str = "/var/lib/update_engine/install/manifest";
const CHECKPOINT: &str = "/var/lib/update_engine/install/checkpoint";
/// See [`super::content`].
pub(super) const CONTENT: &str = "/var/lib/update_engine/install/content";
/// See [`super::content`].
pub(super) const CONTENT_TRIES: &str = "/var/lib/update_engine/install/content-tries";
pub(super) const VERSION: Version = Version(1);

/// An earlier attempt at the same payload for the same slot.
#[derive(Debug)]
pub(super) struct Saved {
    /// Header and manifest.
    pub(super) metadata: Vec<u8>,
    /// The reader's checkpoint.
    pub(super) reader: Vec<u8>,
    /// Which file the bytes before came from.
    pub(super) entity: Option<Entity>,
}

/// Where the records of an attempt lie, and what they are about.
#[derive(Debug)]
pub(super) struct Ledger {
    manifest: PathBuf,
    checkpoint: PathBuf,
    /// The checkpoint up to the entity.
    identity: Vec<u8>,
}

impl Saved {
    /// What an earlier attempt at this plan left; none if there was no such attempt.
    pub(super) fn load(attempt: &AttemptSetup) -> Option<Self> {
        let paths = Paths::of(attempt);
        let loaded = record::load(&paths.manifest, VERSION)
            .and_then(|metadata| Ok(metadata.zip(record::load(&paths.checkpoint, VERSION)?)));
        match loaded {
            Ok(Some((metadata, checkpoint))) => Self::parse(&attempt.plan, metadata, &checkpoint),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "starting over: the last attempt's state can't be used"
                );
                None
            }
        }
    }

    fn parse(plan: &InstallPlan, metadata: Vec<u8>, checkpoint: &[u8]) -> Option<Self> {
        let rest = checkpoint.strip_prefix(identity(plan, &metadata).as_slice())?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (name, reader) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        Some(Self {
            entity: std::str::from_utf8(name).ok().and_then(Entity::parse),
            reader: reader.to_vec(),
            metadata,
        })
    }

    /// Bytes of the payload that it had dealt with.
    pub(super) fn offset(&self) -> u64 {
        Checkpoint::from_bytes(&self.reader).map_or(0, |checkpoint| checkpoint.offset())
    }

    /// Forgets whatever attempt there was.
    pub(super) fn discard(attempt: &AttemptSetup) {
        let paths = Paths::of(attempt);
        let content = [CONTENT, CONTENT_TRIES].map(|path| attempt.path(path));
        for path in [paths.checkpoint, paths.manifest].into_iter().chain(content) {
            if let Err(error) = record::remove(&path) {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "the state of an attempt that is over stays"
                );
            }
        }
    }
}

impl Ledger {
    /// For an attempt that starts over. Nothing of an earlier one is left when this returns.
    ///
    /// # Errors
    /// If the earlier one's checkpoint can't be removed; the slot must not be written then.
    pub(super) fn begin(attempt: &AttemptSetup, metadata: &[u8]) -> Result<Self, RecordError> {
        let ledger = Self::resume(attempt, metadata);
        record::remove(&ledger.checkpoint)?;
        if let Err(error) = record::save(&ledger.manifest, VERSION, metadata) {
            // Without it every checkpoint is void: a restart starts over, which is all that is
            // lost.
            tracing::warn!(
                error = &error as &dyn Error,
                "this attempt can't be resumed after a restart"
            );
        }
        Ok(ledger)
    }

    /// For an attempt that goes on from [`Saved`].
    pub(super) fn resume(attempt: &AttemptSetup, metadata: &[u8]) -> Self {
        let Paths { manifest, checkpoint } = Paths::of(attempt);
        Self {
            manifest,
            checkpoint,
            identity: identity(&attempt.plan, metadata),
        }
    }

    /// Replaces the checkpoint. Whatever it vouches for has been synced.
    ///
    /// # Errors
    /// If that fails; the one before stands.
    pub(super) fn record(&self, reader: &Checkpoint, entity: Option<&Entity>) -> Result<(), RecordError> {
        let name = entity.map_or("", Entity::as_str);
        // Longer names count as none: a resumption then finds out whether the server still agrees.
        let (length, name) = u16::try_from(name.len()).map_or((0, ""), |length| (length, name));
        let mut contents = self.identity.clone();
        contents.extend_from_slice(&length.to_be_bytes());
        contents.extend_from_slice(name.as_bytes());
        contents.extend_from_slice(&reader.to_bytes());
        record::save(&self.checkpoint, VERSION, &contents)
    }

    /// Removes the checkpoint.
    ///
    /// # Errors
    /// If that fails; the checkpoint may come back after a cut.
    pub(super) fn withdraw(&self) -> Result<(), RecordError> {
        record::remove(&self.checkpoint)
    }
}

struct Paths {
    manifest: PathBuf,
    checkpoint: PathBuf,
}

impl Paths {
    fn of(attempt: &AttemptSetup) -> Self {
        Self {
            manifest: attempt.path(MANIFEST),
            checkpoint: attempt.path(CHECKPOINT),
        }
    }
}

fn identity(plan: &InstallPlan, metadata: &[u8]) -> Vec<u8> {
    let mut bytes = plan.payload_sha256.as_bytes().to_vec();
    bytes.extend_from_slice(&plan.payload_size.to_be_bytes());
    bytes.push(plan.target.letter() as u8);
    bytes.extend_from_slice(digest(&SHA256, metadata).as_ref());
    for target in &plan.extra_partitions {
        let place = format!("{}={}", target.name, target.pair.path(plan.target));
        bytes.extend_from_slice(digest(&SHA256, place.as_bytes()).as_ref());
    }
    bytes
}
