//! The record of the content tables that the image in a slot was made by: once that slot runs, they
//! say where its chunks lie, so that it needn't be looked through for the next content package.
//!
//! `tables-a` and `tables-b`, below the state directory, hold the package's header and manifest. One
//! is saved once the slot was read back, and removed before the slot is written again. A version of
//! this daemon that knows no such record leaves it where it writes the slot; so it is believed only
//! if chunks from all over the slot are where it has them, and each chunk is taken by the hash that
//! the new package says. Without it, or with one that can't be read, the slot is looked through.

use std::path::PathBuf;
use std::sync::Arc;

use payload_format::{ContentTables, Event, ExtraPartitionLimits, FormatError, Limits, Reader};

use super::attempt::AttemptSetup;
use super::saved;
use crate::disk::SlotName;
use crate::store::record;

/// The tables, and the bytes of the image that they make.
pub(super) type SlotTables = (Arc<ContentTables>, u64);

/// Keeps the metadata of the package that the image in `slot` was made by. Failing to is logged.
pub(super) fn save(attempt: &AttemptSetup, slot: SlotName, metadata: &[u8]) {
    if let Err(error) = record::save(&path(attempt, slot), saved::VERSION, metadata) {
        tracing::warn!(%error, "{slot} will be looked through for the next content package");
    }
}

/// The tables of the image in `slot`, of so many bytes, if it was made by a content package.
pub(super) fn load(attempt: &AttemptSetup, slot: SlotName, slot_len: u64) -> Option<SlotTables> {
    let loaded = record::load(&path(attempt, slot), saved::VERSION);
    let metadata = loaded.unwrap_or_else(|error| {
        tracing::warn!(%error, "where the chunks of {slot} lie is not known");
        None
    })?;
    parse(&metadata, slot_len).unwrap_or_else(|error| {
        tracing::warn!(%error, "where the chunks of {slot} lie is not known");
        None
    })
}

/// Forgets what the image in `slot` was made by. Failing to is logged.
pub(super) fn forget(attempt: &AttemptSetup, slot: SlotName) {
    if let Err(error) = record::remove(&path(attempt, slot)) {
        tracing::warn!(%error, "tables of what {slot} held before stay");
    }
}

fn path(attempt: &AttemptSetup, slot: SlotName) -> PathBuf {
    attempt.path(&format!(
        "/var/lib/update_engine/install/tables-{}",
        slot.letter()
    ))
}

fn parse(metadata: &[u8], slot_len: u64) -> Result<Option<SlotTables>, FormatError> {
    let mut reader = Reader::new(Limits {
        extra_partitions: ExtraPartitionLimits::Any,
        content_payloads: true,
        ..Limits::for_slot(slot_len)
    });
    let Some(Event::Metadata { manifest, .. }) = reader.read(&mut &metadata[..])? else {
        return Ok(None);
    };
    let tables = manifest.content().map(Arc::clone);
    Ok(tables.map(|tables| (tables, manifest.partition().new.size)))
}
