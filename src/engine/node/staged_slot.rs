//! The staged slot: the record of a staged update, the hold on its slot since that was read back,
//! and its activation.
//!
//! ```text
//!  installed ─▶ record ─▶ slot held, read back ─▶ evidence, locked ── activate ─▶ table ─▶ marker, request ─▶ no record
//!              (durable)     (this process)         (/run)              │
//!                                                                       └ by the daemon, or by the program that an
//!                                                                         orderly reboot runs: both ask record and disk
//! ```
//!
//! The evidence is a file on a tmpfs that names the record and is locked for as long as the process
//! lives that has read the slot back and holds it. Whoever activates needs that lock to be taken:
//! a daemon that was killed, stopped or started anew vouches for nothing.
//!
//! Order of writes, and what a cut between leaves behind:
//! 1. the record: the slot doesn't boot, whatever comes; a later start reads it back;
//! 2. activation is the ordered write of the table alone: one version boots or the other;
//! 3. marker and request for a reboot: without them a daemon that is started anew leaves them, since
//!    the record is there and the table says that its slot boots next;
//! 4. the record is removed: without that, the new slot's daemon finds it, and tells the server.
//!
//! A withdrawal removes the record first of all, and holds nothing any more when it is answered.

mod activation;
mod evidence;
mod read_back;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::Flock;
use tokio_util::sync::CancellationToken;

pub use activation::ActivationError;
use read_back::{not_now, void};

use super::machine::{Machine, unix_time};
use super::slot_control::partuuid;
use crate::config::Activation;
use crate::disk::{DiskError, HeldSlot, SlotDisk, SlotName};
use crate::engine::{AttemptContext, Unconfirmed};
use crate::host::Host;
use crate::install::StagedImage;
use crate::journal::chain;
use crate::omaha::ErrorCode;
use crate::policy::{StagedFate, StagedUpdate};
use crate::store::record::{self, RecordError, Version};

const FILE: &str = "/var/lib/update_engine/staged";
const VERSION: Version = Version(1);
/// Names of extensions take most of it.
const LONGEST: usize = 1 << 16;

/// The staged slot of this machine, if there is one.
pub(super) struct StagedSlot {
    machine: Arc<Machine>,
    hold: Mutex<Option<Hold>>,
}

/// What is kept from the moment that all of it was read back.
struct Hold {
    staged: StagedUpdate,
    // In this order.
    _evidence: Flock<File>,
    _parts: Vec<HeldSlot>,
}

impl StagedSlot {
    pub(super) fn new(machine: &Arc<Machine>) -> Self {
        Self {
            machine: Arc::clone(machine),
            hold: Mutex::default(),
        }
    }

    fn host(&self) -> &Host {
        self.machine.host()
    }

    fn hold(&self) -> MutexGuard<'_, Option<Hold>> {
        // What it guards is replaced as a whole: a panic elsewhere leaves nothing half done.
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the record of what `attempt` has staged.
    ///
    /// # Errors
    /// If that fails; nothing is staged then.
    pub(super) fn keep(&self, attempt: &AttemptContext, image: StagedImage) -> Result<(), RecordError> {
        let slot = image.slot;
        let disk = self.machine.disk();
        let partuuid = disk.and_then(|disk| partuuid(&disk, slot)).map_err(unwritten)?;
        let extensions = self.machine.config().and_then(|config| self.wanted(&config));
        let staged = StagedUpdate {
            partuuid,
            image: image.image.sha256,
            image_bytes: image.image.size,
            kernel: image.kernel_path,
            kernel_sha256: image.kernel.sha256,
            kernel_bytes: image.kernel.size,
            partitions: image.partitions,
            version: attempt.offered().version,
            payload: attempt.offer.as_ref().map(|offer| offer.sha256),
            has_run_postinst: image.has_run_postinst,
            extensions: extensions.map_err(unwritten)?,
            staged: unix_time(),
            announced: 0,
            announced_in: String::new(),
            unknown: BTreeMap::new(),
        };
        *self.hold() = None;
        self.save(&staged)
    }

    /// Replaces the record.
    fn save(&self, staged: &StagedUpdate) -> Result<(), RecordError> {
        // Numbers, texts and lists, with string keys: they always have a JSON form.
        let contents = serde_json::to_vec(staged).unwrap_or_default();
        record::save(&self.host().path(FILE), VERSION, &contents)
    }

    /// The record; nothing if there is none.
    fn load(&self) -> Result<Option<StagedUpdate>, RecordError> {
        load(self.host())
    }

    /// Whether there is a record; one that can't be looked at counts as there.
    pub(super) fn is_kept(&self) -> bool {
        self.host().is_there(FILE).unwrap_or(true)
    }

    /// What has become of what is staged, seen from a start of the daemon. What is void is
    /// forgotten, and so is a record that can't be read: nothing becomes bootable by that.
    pub(super) fn look(&self) -> Option<(StagedUpdate, StagedFate)> {
        let staged = match self.load() {
            Ok(staged) => staged?,
            Err(error) => {
                tracing::warn!("what was staged counts as forgotten: {}", chain(&error));
                if !error.is_passing() {
                    self.forget();
                }
                return None;
            }
        };
        let fate = self.machine.disk().and_then(|disk| fate(&disk, &staged));
        match fate {
            Ok(StagedFate::Void) => {
                tracing::warn!(
                    "version {:?} is not staged any more: something else has become of its slot",
                    staged.version
                );
                self.forget();
                None
            }
            Ok(fate) => Some((staged, fate)),
            Err(error) => {
                tracing::warn!(
                    "what has become of what is staged is not known: {}",
                    chain(&error)
                );
                Some((staged, StagedFate::Staged))
            }
        }
    }

    /// Holds nothing any more: the slot may be opened for writing, and can't be activated.
    pub(super) fn release(&self) {
        *self.hold() = None;
    }

    /// Nothing is staged any more, or waits for its reboot: there is no record of it.
    pub(super) fn forget(&self) {
        if let Err(error) = self.try_forget() {
            tracing::error!("what was staged is not forgotten: {}", chain(&error));
        }
    }

    /// The same, for whoever is about to write the slot.
    ///
    /// # Errors
    /// If the record is still there; it can't be activated in this boot all the same.
    pub(super) fn try_forget(&self) -> Result<(), RecordError> {
        self.release();
        if !self.is_kept() {
            return Ok(());
        }
        record::remove(&self.host().path(FILE))
    }

    /// The staged update is not wanted. One that an orderly reboot has activated a moment ago is
    /// made unbootable again: whoever was told of a withdrawal must not see it booted.
    pub(super) fn withdraw(&self) {
        self.release();
        if !self.is_kept() {
            return;
        }
        let lock = evidence::lock(self.host());
        if let Err(error) = &lock {
            tracing::warn!("{}", chain(error));
        }
        let staged = read(self.host());
        self.forget();
        let Some(staged) = staged else { return };
        let unbootable = self.machine.disk().and_then(|disk| match fate(&disk, &staged)? {
            StagedFate::Activated => disk.make_unbootable(!disk.running()),
            StagedFate::Staged | StagedFate::Runs | StagedFate::Void => Ok(()),
        });
        if let Err(error) = unbootable {
            tracing::error!("what was staged may boot: {}", chain(&error));
        }
        tracing::info!("version {:?} is not staged any more", staged.version);
    }

    /// Reads back what is staged, and holds it from then on; at once if that is so already.
    /// Gives what is to activate it.
    ///
    /// # Errors
    /// It isn't what was staged, and is forgotten; or can't be had now.
    pub(super) fn confirm(&self, cancel: &CancellationToken) -> Result<Activation, Unconfirmed> {
        let confirmed = self.try_confirm(cancel);
        if let Err(Unconfirmed::Void(_)) = &confirmed {
            self.forget();
        }
        confirmed
    }

    fn try_confirm(&self, cancel: &CancellationToken) -> Result<Activation, Unconfirmed> {
        let config = self.machine.config().map_err(not_now)?;
        let staged = match self.load() {
            Ok(Some(staged)) => staged,
            Ok(None) => return Err(void(ErrorCode::Error, "its record is gone".to_owned())),
            Err(error) if error.is_passing() => return Err(not_now(error)),
            Err(error) => return Err(void(ErrorCode::Error, chain(&error))),
        };
        let is_held = self
            .hold()
            .as_ref()
            .is_some_and(|hold| hold.staged.is_same(&staged));
        if !is_held {
            let held = self.read_back(&staged, &config, cancel)?;
            *self.hold() = Some(held);
        }
        Ok(match config.activation {
            Activation::Reboot => self.announce(&staged, &config),
            other => other,
        })
    }
}

/// What is staged on `host`; a record that can't be read counts as forgotten, which is logged.
pub(super) fn read(host: &Host) -> Option<StagedUpdate> {
    load(host).unwrap_or_else(|error| {
        tracing::warn!("what was staged counts as forgotten: {}", chain(&error));
        None
    })
}

fn load(host: &Host) -> Result<Option<StagedUpdate>, RecordError> {
    let path = host.path(FILE);
    let contents = record::load_short(&path, VERSION, LONGEST)?;
    let staged = contents.map(|contents| serde_json::from_slice(&contents));
    staged.transpose().map_err(|_| RecordError::NotARecord(path))
}

fn unwritten(error: impl std::error::Error) -> RecordError {
    RecordError::Write {
        path: FILE.into(),
        source: io::Error::other(chain(&error)),
    }
}

fn fate(disk: &SlotDisk, staged: &StagedUpdate) -> Result<StagedFate, DiskError> {
    let (rows, boots_next) = (disk.table()?, disk.boots_next()?);
    let of = |slot: SlotName| rows.iter().find(|row| row.slot == slot);
    let running = of(disk.running()).map_or("", |row| row.partuuid.as_str());
    let boots_next = boots_next.and_then(of).map(|row| row.partuuid.as_str());
    let attributes = |partuuid: &str| {
        let row = rows.iter().find(|row| row.partuuid == partuuid);
        row.map(|row| row.attributes)
    };
    Ok(staged.fate(running, attributes, boots_next))
}
