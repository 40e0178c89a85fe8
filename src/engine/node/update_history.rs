//! The history of updates: a record that both slots' systems read, by which rollbacks are noticed
//! and payloads blocked.

use std::sync::{Arc, Mutex, PoisonError};

use payload_format::Sha256Digest;

use super::machine::{Machine, unix_time};
use super::slot_control::partuuid;
use crate::disk::{DiskError, SlotDisk, SlotName};
use crate::engine::AttemptContext;
use crate::health::Cause;
use crate::journal::MessageId;
use crate::journal::chain;
use crate::plan::ImageHashes;
use crate::policy::{
    ClockStep, History, KnownImages, RollbackCause, SlotPayload, TrialOutcome, TrialProgress,
};
use crate::status::{Tally, UnixTime};
use crate::store::record::{self, RecordError, Version};

const FILE: &str = "/var/lib/update_engine/history";
const VERSION: Version = Version(1);
/// Which image each payload makes; apart, since earlier versions rewrite the other one without it.
const IMAGES: &str = "/var/lib/update_engine/images";
const IMAGES_VERSION: Version = Version(1);
/// All that is remembered has a tenth of it.
const LONGEST_IMAGES: usize = 1 << 17;

/// What this machine remembers of its updates, and which slot runs.
pub(super) struct UpdateHistory {
    machine: Arc<Machine>,
    /// Held while one of the records is changed.
    record: Mutex<()>,
    /// What was remembered of updates when that could be read last.
    last_read: Mutex<Option<History>>,
    /// PARTUUID of the running slot, once it was looked at.
    running: Mutex<Option<String>>,
}

impl UpdateHistory {
    pub(super) fn new(machine: &Arc<Machine>) -> Self {
        Self {
            machine: Arc::clone(machine),
            record: Mutex::default(),
            last_read: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// What is remembered. Where it can't be read, what was read last counts, and is written anew
    /// by the next change; nothing if that was never possible. Both are logged.
    pub(super) fn read(&self) -> History {
        let read_last = || locked(&self.last_read).clone();
        let history = self.load_history().unwrap_or_else(|error| {
            tracing::warn!("what became of earlier updates is not known: {}", chain(&error));
            read_last().unwrap_or_default()
        });
        let images = self.load_images().unwrap_or_else(|error| {
            tracing::warn!("what earlier payloads made is not known: {}", chain(&error));
            read_last().unwrap_or_default().images().clone()
        });
        let history = history.with_images(images);
        *locked(&self.last_read) = Some(history.clone());
        history
    }

    fn load_images(&self) -> Result<KnownImages, RecordError> {
        let path = self.machine.host().path(IMAGES);
        let contents = record::load_short(&path, IMAGES_VERSION, LONGEST_IMAGES)?;
        let images = contents.map(|contents| serde_json::from_slice(&contents));
        let images = images.transpose().map_err(|_| RecordError::NotARecord(path))?;
        Ok(images.unwrap_or_default())
    }

    fn load_history(&self) -> Result<History, RecordError> {
        let path = self.machine.host().path(FILE);
        let contents = record::load(&path, VERSION)?;
        let Some(contents) = contents else {
            return Ok(History::default());
        };
        serde_json::from_slice(&contents).map_err(|_| RecordError::NotARecord(path))
    }

    /// Changes what is remembered, durably; one change at a time.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut History) -> T) -> Result<T, RecordError> {
        // It guards a file that is replaced as a whole, so that a panic leaves nothing half done.
        let _one_at_a_time = locked(&self.record);
        self.require_readable()?;
        let before = self.read();
        let mut history = before.clone();
        let value = change(&mut history);
        if history != before {
            // Plain numbers, texts and lists, all with string keys: they always have a JSON form.
            let contents = serde_json::to_vec(&history).unwrap_or_default();
            record::save(&self.machine.host().path(FILE), VERSION, &contents)?;
            *locked(&self.last_read) = Some(history);
        }
        Ok(value)
    }

    /// Fails where reading failed for want of descriptors or memory: what can't be read for a
    /// moment must not be replaced.
    fn require_readable(&self) -> Result<(), RecordError> {
        let outcomes = [self.load_history().map(drop), self.load_images().map(drop)];
        for outcome in outcomes {
            match outcome {
                Err(error @ RecordError::Read { .. }) if error.is_passing() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn change_or_warn<T>(&self, change: impl FnOnce(&mut History) -> T) -> Option<T> {
        self.change(change)
            .inspect_err(|error| {
                tracing::error!("what happens to this update is not remembered: {}", chain(error));
            })
            .ok()
    }

    /// What became of the last update, seen from a start of the daemon.
    pub(super) fn note_start(&self) {
        let found = self.machine.disk().and_then(|disk| {
            let rows = disk.table()?;
            Ok((partuuid(&disk, disk.running())?, rows))
        });
        let (running, rows) = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("what became of the last update is not known: {}", chain(&error));
                return;
            }
        };
        let attributes = |slot: &str| {
            let row = rows.iter().find(|row| row.partuuid == slot);
            row.map(|row| row.attributes)
        };
        let now = unix_time();
        let version = self.machine.running_version();
        let boot = self.machine.host().boot_id().unwrap_or_default();
        let outcome = self.change_or_warn(|history| {
            history.boots(&running, &boot);
            let outcome = history.looked(&running, attributes, now);
            if matches!(outcome, TrialOutcome::RolledBack(_)) {
                history.tally_mut().rolled_back(now);
            }
            history.runs(&running, &version);
            outcome
        });
        log(outcome);
        *locked(&self.running) = Some(running);
    }

    /// PARTUUID of the running slot, once [`Self::note_start`] has found it.
    pub(super) fn running(&self) -> Option<String> {
        locked(&self.running).clone()
    }

    /// Counts what was done; one that can't be kept disturbs nothing.
    pub(super) fn count(&self, change: impl FnOnce(&mut Tally, UnixTime)) {
        let now = unix_time();
        self.change_or_warn(|history| change(history.tally_mut(), now));
    }

    /// The clock was set: what this process has noted is corrected.
    pub(super) fn clock_stepped(&self, step: &ClockStep) -> Result<(), RecordError> {
        self.change(|history| history.clock_stepped(step))
    }

    /// `slot` is about to be written.
    pub(super) fn forget_contents(&self, disk: &SlotDisk, slot: SlotName) {
        match partuuid(disk, slot) {
            Ok(partuuid) => {
                self.change_or_warn(|history| history.overwritten(&partuuid));
            }
            Err(error) => tracing::warn!("{}", chain(&error)),
        }
    }

    /// The slot of `attempt`, which holds `image` on the medium, may boot next from here on.
    ///
    /// To be told once the slot was read back: what it holds is shown by this. Order of writes, and what a
    /// cut between leaves: which image the payload makes, of which
    /// nothing follows yet; then that it is committed to.
    ///
    /// # Errors
    /// A rollback from it could not be noticed then.
    pub(super) fn remember_target(
        &self,
        attempt: &AttemptContext,
        image: ImageHashes,
    ) -> Result<(), RememberError> {
        let (Some(target), Some(offer)) = (attempt.target, &attempt.offer) else {
            return Ok(());
        };
        let payload = SlotPayload {
            sha256: Some(offer.sha256),
            version: offer.version.clone(),
        };
        self.remember_image(offer.sha256, image)?;
        let disk = self.machine.disk()?;
        let slot = partuuid(&disk, target)?;
        Ok(self.change(|history| history.committed(&slot, payload))?)
    }

    /// The extensions that are lost with the update that was remembered last, each in a sentence.
    pub(super) fn remember_lost(&self, extensions: Vec<String>) {
        self.change_or_warn(|history| history.loses(extensions));
    }

    fn remember_image(&self, payload: Sha256Digest, image: ImageHashes) -> Result<(), RecordError> {
        let _one_at_a_time = locked(&self.record);
        let mut images = self.read().images().clone();
        images.remember(payload, image);
        // Lists of numbers: they always have a JSON form.
        let contents = serde_json::to_vec(&images).unwrap_or_default();
        record::save(&self.machine.host().path(IMAGES), IMAGES_VERSION, &contents)
    }

    /// The payload `package` makes `image`, which is blocked.
    pub(super) fn block_package(&self, package: Sha256Digest, image: ImageHashes) {
        self.change_or_warn(|history| history.block_package(package, image));
    }

    /// SHA-256 of the payload in the slot that boots next, if this machine's engine installed it.
    pub(super) fn waiting_payload(&self) -> Option<Sha256Digest> {
        let history = self.read();
        let running = self.running();
        let trial = history.trial().filter(|trial| {
            trial.progress == TrialProgress::Committed && running.is_some_and(|slot| slot != trial.partuuid)
        });
        trial.and_then(|trial| trial.payload.sha256)
    }

    /// The version in the slot that doesn't run, if it is known.
    pub(super) fn version_of_other(&self) -> Option<String> {
        let rows = self.machine.disk();
        let rows = rows.and_then(|disk| Ok((disk.running(), disk.table()?)));
        let (running, rows) = rows.ok()?;
        let other = rows.into_iter().find(|row| row.slot != running)?;
        self.read().version_in(&other.partuuid).map(str::to_owned)
    }

    /// An operator leaves the running slot for the other one.
    ///
    /// # Errors
    /// What is left would be installed again then.
    pub(super) fn remember_leaving(&self, disk: &SlotDisk) -> Result<(), RememberError> {
        let (running, other) = (partuuid(disk, disk.running())?, partuuid(disk, !disk.running())?);
        let now = unix_time();
        Ok(self.change(|history| history.leave(&running, &other, now))?)
    }

    /// The running slot of this PARTUUID is good.
    pub(super) fn remember_kept(&self, running: &str) {
        self.change_or_warn(|history| history.kept(running));
    }

    /// The running slot is about to be left for a hang. A cause that was recorded before stays: the
    /// node hung on its way out.
    ///
    /// # Errors
    /// When the cause can't be recorded.
    pub(super) fn remember_hang(&self, disk: &SlotDisk, starting: &[String]) -> Result<(), RememberError> {
        let running = partuuid(disk, disk.running())?;
        let version = self.machine.running_version();
        let hang = Cause::Hang {
            starting: starting.to_vec(),
        };
        let why = RollbackCause {
            cause: hang.summary(),
            output: String::new(),
            is_regression: false,
        };
        Ok(self.change(|history| {
            let was_given_up = history.trial().is_some_and(|trial| {
                trial.partuuid == running && matches!(trial.progress, TrialProgress::GivenUp(_))
            });
            if !was_given_up {
                history.given_up(&running, &version, why);
            }
        })?)
    }

    /// The running slot is not left for a hang after all.
    ///
    /// # Errors
    /// When what was recorded can't be withdrawn.
    pub(super) fn forget_hang(&self, disk: &SlotDisk) -> Result<(), RememberError> {
        let running = partuuid(disk, disk.running())?;
        let is_good = disk.attributes(disk.running())?.is_successful();
        Ok(self.change(|history| {
            history.withdrawn(&running, |why| Cause::is_hang(&why.cause));
            if is_good {
                history.kept(&running);
            }
        })?)
    }

    /// The running slot is about to be left.
    pub(super) fn remember_given_up(&self, disk: &SlotDisk, cause: &Cause) {
        let version = self.machine.running_version();
        match partuuid(disk, disk.running()) {
            Ok(running) => {
                let why = RollbackCause {
                    cause: cause.summary(),
                    output: cause.output().to_owned(),
                    is_regression: matches!(cause, Cause::Lost { .. }),
                };
                self.change_or_warn(|history| history.given_up(&running, &version, why));
            }
            Err(error) => tracing::error!("{}", chain(&error)),
        }
    }

    /// The daemon was asked to end: if the machine is shut down while the running slot is on trial,
    /// that blames nobody.
    pub(super) fn note_orderly_end(&self) {
        if let Some(running) = self.running() {
            self.change_or_warn(|history| history.ended_orderly(&running));
        }
    }
}

fn log(outcome: Option<TrialOutcome>) {
    match outcome {
        Some(TrialOutcome::RolledBack(rollback)) => tracing::error!(
            MESSAGE_ID = MessageId::RolledBack.id(),
            UPDATE_VERSION = rollback.payload.version,
            "rolled back from version {:?}: {}{}{}",
            rollback.payload.version,
            rollback.cause,
            if rollback.output.is_empty() { "" } else { ": " },
            rollback.output
        ),
        Some(TrialOutcome::Interrupted(payload)) => tracing::warn!(
            "version {:?} went down before it was found healthy; nobody is to blame",
            payload.version
        ),
        Some(TrialOutcome::OnTrial) => tracing::info!("the running slot is on trial"),
        Some(TrialOutcome::Nothing | TrialOutcome::Kept) | None => {}
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Plain values: a panic elsewhere cannot have left them half written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a target could not be remembered.
#[derive(Debug, thiserror::Error)]
pub enum RememberError {
    /// The disk doesn't tell the slots.
    #[error("cannot tell which slot is updated")]
    Disk(#[from] DiskError),
    /// The record can't be read or written.
    #[error("cannot remember what is installed")]
    Record(#[from] RecordError),
}
