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
//! lives that has read the slot back and holds it. Only while that lock is taken may the slot be
//! activated: a daemon that was killed, stopped or started anew has not read it back.
//!
//! Order of writes, and what a cut between leaves behind:
//! 1. the record: the slot doesn't boot, whatever comes; a later start reads it back;
//! 2. activation is the ordered write of the table alone: one version boots or the other;
//! 3. marker and request for a reboot: without them a daemon that is started anew leaves them, since
//!    the record is there and the table says that its slot boots next;
//! 4. the server is told: without that, the new slot's daemon finds the record, and tells it;
//! 5. the record is removed: without that, the server is told twice.
//!
//! A withdrawal removes the record first of all, and holds nothing any more when it is answered.

mod activation;
mod evidence;
mod read_back;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::Flock;
use tokio_util::sync::CancellationToken;

pub use activation::ActivationError;
use read_back::{not_now, void};

use super::machine::{Machine, unix_time};
use super::slot_control::partuuid;
use crate::disk::{DiskError, HeldSlot, SlotDisk, SlotName};
use crate::engine::{AttemptContext, StagedReadiness, Unconfirmed};
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
    /// Held while the slot is read back, and by a withdrawal.
    reading: Mutex<()>,
    /// How many readings in a row have failed by an error that may stay.
    failed_readings: AtomicU8,
}

/// What is kept from the moment that all of it was read back.
struct Hold {
    staged: StagedUpdate,
    /// The mark of the kernel.
    kernel: String,
    // In this order.
    _evidence: Flock<File>,
    _parts: Vec<HeldSlot>,
}

impl StagedSlot {
    pub(super) fn new(machine: &Arc<Machine>) -> Self {
        Self {
            machine: Arc::clone(machine),
            hold: Mutex::default(),
            reading: Mutex::default(),
            failed_readings: AtomicU8::default(),
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
            reboots: 0,
            is_counted: false,
            is_told_as_failed: image.is_told_as_failed,
            unknown: BTreeMap::new(),
        };
        *self.hold() = None;
        self.failed_readings.store(0, Ordering::Relaxed);
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
    /// forgotten, and so is a record that holds something else: nothing becomes bootable by that.
    ///
    /// # Errors
    /// The record can't be read now: whether something is staged isn't known.
    pub(super) fn look(&self) -> Result<Option<(StagedUpdate, StagedFate)>, RecordError> {
        let Some(staged) = read(self.host())? else {
            self.forget();
            return Ok(None);
        };
        let fate = self.machine.disk().and_then(|disk| fate(&disk, &staged));
        Ok(match fate {
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
        })
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

    /// The lock of whoever activates or withdraws, if there is anything to activate.
    ///
    /// # Errors
    /// Another program has it for longer than a second.
    pub(super) fn lock_if_kept(&self) -> Result<Option<Flock<File>>, ActivationError> {
        self.is_kept().then(|| evidence::lock(self.host())).transpose()
    }

    /// The staged update is not wanted. One that an orderly reboot has activated a moment ago, or a
    /// write of the table has half activated, is made unbootable again: whoever was told of a
    /// withdrawal must not see it booted. A slot that was marked good meanwhile is another's.
    ///
    /// # Errors
    /// Another program activates it; its record stays; or its slot may boot.
    pub(super) fn withdraw(&self) -> Result<(), WithdrawError> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.release();
        if !self.is_kept() {
            return Ok(());
        }
        let _lock = evidence::lock(self.host()).map_err(|error| WithdrawError::Locked(Box::new(error)))?;
        let staged = read(self.host())?;
        record::remove(&self.host().path(FILE))?;
        let disk = self.machine.disk()?;
        if let Some(staged) = &staged
            && fate(&disk, staged)? == StagedFate::Runs
        {
            return Ok(());
        }
        let other = !disk.running();
        let attributes = disk.attributes(other)?;
        if attributes.is_selectable() {
            disk.require_running_good(other)?;
        }
        if !attributes.is_successful() {
            disk.make_unbootable(other)?;
        }
        let version = staged.map(|staged| staged.version).unwrap_or_default();
        tracing::info!("version {version:?} is not staged any more");
        Ok(())
    }

    /// The update was activated and waits for the reboot; says whether that was not counted yet.
    /// The record stays until the server was told: a reboot may come first.
    pub(super) fn note_activated(&self) -> bool {
        self.release();
        let counted = match self.load() {
            Ok(Some(staged)) if staged.is_counted => return false,
            Ok(Some(staged)) => self.save(&StagedUpdate {
                is_counted: true,
                ..staged
            }),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = counted {
            tracing::warn!("the activation may be counted twice: {}", chain(&error));
        }
        true
    }

    /// Whether the server was told of a failure of what is staged, or waits.
    ///
    /// # Errors
    /// The record can't be read now.
    pub(super) fn is_told_as_failed(&self) -> Result<bool, RecordError> {
        let staged = read(self.host())?;
        Ok(staged.is_some_and(|staged| staged.is_told_as_failed))
    }

    /// Runs `change`, which may put the running slot first, unless the staged update boots next by
    /// now: an orderly reboot may have activated it while the daemon is stopped. What boots next while
    /// the record can't be read may be the staged update.
    ///
    /// # Errors
    /// Those of `change`.
    pub(super) fn unless_activated<T>(
        &self,
        disk: &SlotDisk,
        change: impl FnOnce() -> Result<T, DiskError>,
    ) -> Result<Option<T>, DiskError> {
        if !self.is_kept() {
            return change().map(Some);
        }
        // Marking goes on whoever has the lock.
        let _lock = evidence::lock(self.host()).inspect_err(|error| tracing::warn!("{}", chain(error)));
        let is_activated = match read(self.host()) {
            Ok(Some(staged)) => fate(disk, &staged)? == StagedFate::Activated,
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(
                    "whether a staged update boots next is not known: {}",
                    chain(&error)
                );
                disk.boots_next()? == Some(!disk.running())
            }
        };
        if is_activated && disk.attributes(disk.running())?.is_successful() {
            return Ok(None);
        }
        change().map(Some)
    }

    /// Reads back what is staged, and holds it from then on; at once if that is so already.
    /// Gives how it stands.
    ///
    /// # Errors
    /// It isn't what was staged, and is to be withdrawn; boots next or runs already; or can't be had
    /// now.
    pub(super) fn confirm(&self, cancel: &CancellationToken) -> Result<StagedReadiness, Unconfirmed> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if cancel.is_cancelled() {
            return Err(Unconfirmed::NotNow("reading it was broken off".to_owned()));
        }
        let config = self.machine.config().map_err(not_now)?;
        let staged = match self.load() {
            Ok(Some(staged)) => staged,
            Ok(None) => return Err(void(ErrorCode::Error, "its record is gone".to_owned())),
            Err(error) if error.is_passing() => return Err(not_now(error)),
            Err(error) => return Err(void(ErrorCode::Error, chain(&error))),
        };
        self.read_back(&staged, &config, cancel)?;
        Ok(StagedReadiness {
            activation: config.activation,
            obstacle: self.obstacle(&staged, &config),
        })
    }
}

/// Why a staged update is not withdrawn for certain.
#[derive(Debug, thiserror::Error)]
pub(super) enum WithdrawError {
    /// It is staged still.
    #[error("the staged update is not withdrawn")]
    Locked(#[source] Box<ActivationError>),
    /// It is staged still.
    #[error("the record of the staged update stays")]
    Record(#[from] RecordError),
    /// There is no record of it any more.
    #[error("what was staged may boot")]
    Disk(#[from] DiskError),
}

/// What is staged on `host`. A record that is damaged, or on a medium that is, counts as forgotten,
/// which is logged.
///
/// # Errors
/// The record can't be read now: whether something is staged isn't known.
pub(super) fn read(host: &Host) -> Result<Option<StagedUpdate>, RecordError> {
    match load(host) {
        Err(error) if !error.is_passing() => {
            tracing::warn!("what was staged counts as forgotten: {}", chain(&error));
            Ok(None)
        }
        staged => staged,
    }
}

fn load(host: &Host) -> Result<Option<StagedUpdate>, RecordError> {
    // Takes no descriptor: where none is left it is still known that nothing is staged.
    if matches!(host.is_there(FILE), Ok(false)) {
        return Ok(None);
    }
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
