//! What this node remembers of its updates, beside the original's preferences: the last one that was
//! committed, and the payloads that were tried and not kept.
//!
//! The record of the last update is written before its slot becomes the next to boot, and removed before a
//! slot is written again. A cut between record and commit leaves a slot of priority 0, about which
//! [`LastUpdate::judge`] says nothing.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Node, slots};
use crate::disk::{SlotDisk, SlotName};
use crate::engine::chain;
use crate::omaha::CheckEvent;
use crate::policy::{Blame, BlamedPayloads, LastUpdate, Present, Shutdown, Verdict};
use crate::store::record::{self, Version};

const VERSION: Version = Version(1);
const LAST: &str = "/var/lib/update_engine/last-update";
const BLAMED: &str = "/var/lib/update_engine/rolled-back";

impl Node {
    /// To be called before the slot becomes the next to boot.
    pub(super) fn remember_update(&self) {
        let Some(offer) = self.memory(|memory| memory.offer.clone()) else {
            return;
        };
        let partuuid = self.disk().and_then(|disk| partuuid(&disk, !disk.running()));
        self.keep(
            LAST,
            &LastUpdate {
                partuuid: partuuid.unwrap_or_default(),
                payload_sha256: offer.sha256,
                version: offer.version,
                boot_id: self.host().identity().boot_id,
                shutdown: Shutdown::Unexplained,
            },
        );
    }

    /// To be called before a slot is written: what it held is no update any more.
    pub(super) fn forget_update(&self) {
        if let Err(error) = record::remove(&self.host().path(LAST)) {
            tracing::warn!("{}", chain(&error));
        }
    }

    /// Payloads not to be installed again by themselves.
    pub(super) fn blamed(&self) -> BlamedPayloads {
        self.kept(BLAMED).unwrap_or_default()
    }

    /// The news for the server: what `previous` (the original's preference) says, unless this node knows
    /// better. A rollback that nobody else explains is held against its payload.
    pub(super) fn news_of_last_update(&self, previous: Option<&str>, current: &str) -> CheckEvent {
        let by_pref = CheckEvent::from_pref(previous, current);
        let previous = match previous {
            None | Some("") => return by_pref,
            Some(previous) => previous,
        };
        match self.verdict() {
            Some((_, Verdict::NotBooted)) => CheckEvent::NothingNew,
            Some((last, Verdict::Booted)) => {
                let mut blamed = self.blamed();
                blamed.forgive(&last.payload_sha256);
                self.keep(BLAMED, &blamed);
                CheckEvent::UpdatedFrom(previous.to_owned())
            }
            Some((last, Verdict::FellBack(shutdown))) => {
                self.fell_back(last, shutdown);
                CheckEvent::RolledBack
            }
            Some((_, Verdict::Unknown)) | None => by_pref,
        }
    }

    fn fell_back(&self, last: LastUpdate, shutdown: Shutdown) {
        let version = &last.version;
        if shutdown == Shutdown::Orderly {
            tracing::warn!(
                "version {version:?} was shut down before it was marked good; it is not held against it"
            );
            return;
        }
        tracing::error!("version {version:?} was booted and not kept: it was rolled back");
        let mut blamed = self.blamed();
        blamed.add(Blame {
            sha256: last.payload_sha256,
            version: last.version,
            noticed: self.unix_time(),
        });
        self.keep(BLAMED, &blamed);
    }

    /// The daemon starts, or ends because it was asked to. On a slot that is on trial that tells a reboot
    /// by hand from a crash.
    pub fn note_trial(&self, shutdown: Shutdown) {
        let Some((last, Verdict::Booted)) = self.verdict() else {
            return;
        };
        if last.shutdown != shutdown {
            self.keep(LAST, &LastUpdate { shutdown, ..last });
        }
    }

    fn verdict(&self) -> Option<(LastUpdate, Verdict)> {
        let last: LastUpdate = self.kept(LAST)?;
        let disk = self.disk()?;
        let rows = disk.table().ok()?;
        let attributes = rows.iter().find(|row| row.partuuid == last.partuuid)?.attributes;
        let verdict = last.judge(&Present {
            boot_id: &self.host().identity().boot_id,
            running: &partuuid(&disk, disk.running())?,
            attributes,
        });
        Some((last, verdict))
    }

    fn disk(&self) -> Option<SlotDisk> {
        slots::open(&self.settings).ok()
    }

    fn kept<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let path: PathBuf = self.host().path(path);
        let contents = record::load(&path, VERSION).unwrap_or_else(|error| {
            tracing::warn!("{}", chain(&error));
            None
        })?;
        serde_json::from_slice(&contents).ok()
    }

    /// Memory that can't be kept makes the node less clever, not less safe.
    fn keep<T: Serialize>(&self, path: &str, value: &T) {
        let kept = serde_json::to_vec(value)
            .map_err(|error| error.to_string())
            .and_then(|contents| {
                record::save(&self.host().path(path), VERSION, &contents).map_err(|error| chain(&error))
            });
        if let Err(error) = kept {
            tracing::warn!("{error}");
        }
    }
}

fn partuuid(disk: &SlotDisk, slot: SlotName) -> Option<String> {
    let rows = disk.table().ok()?;
    let row = rows.into_iter().find(|row| row.slot == slot)?;
    Some(row.partuuid)
}
