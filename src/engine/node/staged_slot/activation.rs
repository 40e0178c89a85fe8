//! The activation of a staged update: what is looked at, and the one write.

use std::io;
use std::time::{Duration, Instant};

use super::evidence::{PATIENCE, held, kernel_mark, lock};
use super::{StagedSlot, fate};
use crate::config::{Activation, Config};
use crate::disk::{DiskError, ForeignError, SlotDisk, SlotName};
use crate::engine::SlotError;
use crate::host::Unreadable;
use crate::install::read_kernel_until;
use crate::journal::{MessageId, chain};
use crate::policy::{ActivatedBy, ActivationInput, ActivationObstacle, StagedUpdate};
use crate::store::record::RecordError;
use crate::systemd::{Systemd, SystemdError};

/// The unit whose stop activates a staged update, if the machine reboots.
const UNIT: &str = "update-engine-activate.service";
/// Extensions that a distribution's postinst brings for the new version.
const ENABLED_EXTENSIONS: &str = "/etc/flatcar/enabled-sysext.conf";
/// After so many orderly reboots that have not activated the update none is asked for any more:
/// reboot managers must not go on for ever.
const MOST_REBOOTS: u8 = 3;
/// How long a shutdown, and an order, wait for the kernel to be read once more. On a disk that is
/// slower, its size and its time of change have to do.
const KERNEL_AT_REBOOT: Duration = Duration::from_millis(500);
const KERNEL_BY_ORDER: Duration = Duration::from_secs(5);

/// Why a staged update was not activated. The slot is as it was, unless the table could not be
/// read back.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// There is no record of one.
    #[error("no update is staged")]
    NothingStaged,
    /// The record can't be read.
    #[error("what is staged is not known")]
    Record(#[from] RecordError),
    /// Something speaks against it.
    #[error("the staged update is not activated: {0}")]
    Obstacle(#[from] ActivationObstacle),
    /// Another program activates or withdraws it.
    #[error("another program has been activating or withdrawing it for longer than {} s", PATIENCE.as_secs())]
    Locked,
    /// The running slot isn't good, or the table can't be read or written.
    #[error("the staged update is not activated")]
    Disk(#[from] DiskError),
    /// Its kernel is on another disk.
    #[error("the staged update is not activated")]
    KernelDisk(#[from] ForeignError),
    /// Configuration or files can't be read.
    #[error("the staged update is not activated")]
    Unreadable(#[from] Unreadable),
    /// The files in `/run` can't be used.
    #[error("the staged update is not activated: files in /run/update_engine can't be used")]
    Run(#[source] io::Error),
}

impl From<ActivationError> for SlotError {
    fn from(error: ActivationError) -> Self {
        match error {
            ActivationError::NothingStaged | ActivationError::Obstacle(_) => Self::Unfit(chain(&error)),
            _ => Self::io(&error),
        }
    }
}

/// Why an orderly reboot would not activate the staged update.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine::node) enum NoRebootActivation {
    #[error("no systemd runs here, so that a reboot would not activate it")]
    NoSystemd,
    #[error("a reboot would not activate it")]
    Systemd(#[from] SystemdError),
}

impl StagedSlot {
    /// Has systemd run the program that activates the staged update when an orderly reboot stops
    /// its unit.
    ///
    /// # Errors
    /// [`NoRebootActivation`].
    pub(in crate::engine::node) async fn arm(&self) -> Result<(), NoRebootActivation> {
        if !self.host().is_real() {
            // Whoever plays the machine runs the program.
            return Ok(());
        }
        if !self.host().has_systemd() {
            return Err(NoRebootActivation::NoSystemd);
        }
        Ok(Systemd.bring_up(UNIT).await?)
    }

    /// Nothing is staged any more: the program would do nothing, and its unit only keep the boot
    /// partition mounted.
    pub(in crate::engine::node) async fn disarm(&self) {
        if self.host().has_systemd() {
            let _ = Systemd.stop(UNIT).await;
        }
    }

    /// What keeps the staged update from being activated in the way that configuration has it, in
    /// a sentence.
    pub(super) fn obstacle(&self, staged: &StagedUpdate, config: &Config) -> Option<String> {
        let by = match config.activation {
            Activation::Reboot => ActivatedBy::Reboot,
            Activation::Order | Activation::AtOnce => ActivatedBy::Order,
        };
        let disk = self.machine.disk().map_err(ActivationError::from);
        let decided = disk.and_then(|disk| self.decide(&disk, staged, (by, config)));
        let obstacle = match decided {
            Err(error) => chain(&error),
            Ok(_) if by == ActivatedBy::Reboot && staged.reboots >= MOST_REBOOTS => format!(
                "{MOST_REBOOTS} orderly reboots have not activated it: none is asked for any more, an order activates it"
            ),
            Ok(_) => return None,
        };
        tracing::warn!("version {:?}: {obstacle}", staged.version);
        Some(obstacle)
    }

    /// Counts an orderly reboot that is to activate the update, before anything else is done: also
    /// one that is cut short has then come to nothing.
    fn count_reboot(&self, staged: &StagedUpdate) {
        let counted = self.save(&StagedUpdate {
            reboots: staged.reboots.saturating_add(1),
            ..staged.clone()
        });
        if let Err(error) = counted {
            tracing::warn!("this reboot is not counted: {}", chain(&error));
        }
    }

    /// Makes the staged update the next to boot, by the table alone.
    ///
    /// # Errors
    /// [`ActivationError`]; the old version boots, unless the table can't be read back.
    pub(in crate::engine::node) fn activate(&self, by: ActivatedBy) -> Result<(), ActivationError> {
        let _lock = lock(self.host())?;
        let staged = self.load()?.ok_or(ActivationError::NothingStaged)?;
        let config = self.machine.config()?;
        if by == ActivatedBy::Reboot && config.activation == Activation::Reboot {
            self.count_reboot(&staged);
        }
        let disk = self.machine.disk()?.with_patience(PATIENCE);
        let slot = self.decide(&disk, &staged, (by, &config))?;
        self.require_kernel(&staged, by)?;
        disk.make_next(slot)?;
        tracing::info!(
            MESSAGE_ID = MessageId::Installed.id(),
            UPDATE_VERSION = staged.version,
            UPDATE_SLOT = %slot,
            "version {:?} in {slot} is activated: it boots next",
            staged.version
        );
        Ok(())
    }

    /// Reads the kernel once more: another one may have the same length, and a time of change that
    /// was set back.
    fn require_kernel(&self, staged: &StagedUpdate, by: ActivatedBy) -> Result<(), ActivationError> {
        let until = Instant::now()
            + match by {
                ActivatedBy::Reboot => KERNEL_AT_REBOOT,
                ActivatedBy::Order => KERNEL_BY_ORDER,
            };
        let path = || staged.kernel.clone();
        let found = read_kernel_until(&self.host().path(&staged.kernel), staged.kernel_bytes, until);
        let found = found.map_err(|source| Unreadable { path: path(), source })?;
        if found.is_some_and(|found| found != staged.kernel_sha256) {
            // The next check reads everything back anew.
            self.release();
            return Err(ActivationObstacle::KernelWritten(path()).into());
        }
        if found.is_none() {
            tracing::info!("{} is not read once more: there is no time for it", staged.kernel);
        }
        Ok(())
    }

    /// Whether it may be activated; gives its slot.
    fn decide(
        &self,
        disk: &SlotDisk,
        staged: &StagedUpdate,
        (by, config): (ActivatedBy, &Config),
    ) -> Result<SlotName, ActivationError> {
        let slot = !disk.running();
        disk.require_running_good(slot)?;
        let fate = fate(disk, staged)?;
        let kernel = self.host().look_at(&staged.kernel)?;
        let kernel = kernel.filter(std::fs::Metadata::is_file);
        let held = held(self.host(), staged).map_err(ActivationError::Run)?;
        let extensions = self.wanted(config)?;
        let input = ActivationInput {
            staged,
            by,
            activation: config.activation,
            fate,
            is_held: held.is_some(),
            kernel_bytes: kernel.as_ref().map(std::fs::Metadata::len),
            is_kernel_as_read: kernel.as_ref().map(kernel_mark) == held,
            extensions: &extensions,
        };
        input.decide()?;
        disk.own_disk()?
            .require_file_system(self.host(), &staged.kernel)?;
        Ok(slot)
    }

    /// Names and patterns of the extensions that are wanted for another version.
    pub(super) fn wanted(&self, config: &Config) -> Result<Vec<String>, Unreadable> {
        let own = config
            .extensions
            .wanted
            .iter()
            .map(|wanted| wanted.as_str().to_owned());
        let enabled = self.host().read(ENABLED_EXTENSIONS)?.unwrap_or_default();
        let enabled = String::from_utf8_lossy(&enabled).into_owned();
        let lines = enabled.lines().map(str::trim);
        // A name behind a `-` is not wanted.
        let names = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '-']));
        Ok(own.chain(names.map(str::to_owned)).collect())
    }
}
