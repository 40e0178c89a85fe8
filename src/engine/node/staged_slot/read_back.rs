//! Reading a staged update back: its slot, the partitions beside it, its kernel. What is no file is
//! held from before it is read.

use std::fmt::Display;
use std::io;
use std::thread;

use payload_format::Sha256Digest;
use tokio_util::sync::CancellationToken;

use super::{Hold, StagedSlot, evidence, fate};
use crate::config::Config;
use crate::disk::{HeldSlot, Priority, SlotDisk};
use crate::engine::{Failure, Unconfirmed};
use crate::install::{read_image, read_kernel};
use crate::journal::chain;
use crate::omaha::ErrorCode;
use crate::policy::{ActivationObstacle, StagedFate, StagedUpdate};

impl StagedSlot {
    /// Holds and reads back what `staged` says; at once if that is so already, and the kernel was not
    /// written since.
    ///
    /// # Errors
    /// It isn't what was staged, or can't be had now.
    pub(super) fn read_back(
        &self,
        staged: &StagedUpdate,
        config: &Config,
        cancel: &CancellationToken,
    ) -> Result<(), Unconfirmed> {
        let disk = self.machine.disk().map_err(not_now)?;
        match fate(&disk, staged).map_err(not_now)? {
            StagedFate::Staged => {}
            StagedFate::Activated => return Err(Unconfirmed::Activated),
            StagedFate::Runs => return Err(Unconfirmed::Runs),
            StagedFate::Void => {
                let sentence = ActivationObstacle::SlotChanged.to_string();
                return Err(void(ErrorCode::Error, sentence));
            }
        }
        let kernel = self.kernel_now(staged);
        let is_held = |hold: &Hold| hold.staged.is_same(staged) && Some(&hold.kernel) == kernel.as_ref();
        if self.hold().as_ref().is_some_and(is_held) {
            return Ok(());
        }
        // Its evidence is locked.
        self.release();
        let slot = !disk.running();
        let held = disk.hold(slot).map_err(not_now)?;
        let reader = Reader {
            priority: config.load.scheduled,
            cancel,
        };
        reader.check(&held, &slot, (staged.image, staged.image_bytes))?;
        let mut parts = vec![held];
        for partition in &staged.partitions {
            let held = disk.hold_extra_partition(self.host(), &partition.path);
            let held = held.map_err(not_now)?;
            reader.check(&held, &partition.path, (partition.sha256, partition.bytes))?;
            parts.push(held);
        }
        self.check_kernel(&disk, staged)?;
        let Some(kernel) = kernel else {
            let path = &staged.kernel;
            return Err(Unconfirmed::NotNow(format!("{path} could not be looked at")));
        };
        let evidence = evidence::leave(self.host(), staged, &kernel).map_err(not_now)?;
        tracing::info!("version {:?} in {slot} is read back and held", staged.version);
        *self.hold() = Some(Hold {
            staged: staged.clone(),
            kernel,
            _evidence: evidence,
            _parts: parts,
        });
        Ok(())
    }

    /// The mark of the kernel as it is now.
    fn kernel_now(&self, staged: &StagedUpdate) -> Option<String> {
        let found = self.host().look_at(&staged.kernel).ok()?;
        found.as_ref().map(evidence::kernel_mark)
    }

    /// Only another content, or none on a boot partition that is there, is not what was staged.
    fn check_kernel(&self, disk: &SlotDisk, staged: &StagedUpdate) -> Result<(), Unconfirmed> {
        let StagedUpdate { kernel, .. } = staged;
        let found = match read_kernel(&self.host().path(kernel)) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(reason) = self.machine.missing_kernel(disk.running()) {
                    return Err(Unconfirmed::NotNow(reason));
                }
                let own = disk.own_disk().map_err(not_now)?;
                own.require_file_system(self.host(), kernel).map_err(not_now)?;
                return Err(unreadable(ErrorCode::NewKernelVerification, kernel, &error));
            }
            Err(error) => return Err(Unconfirmed::NotNow(format!("{kernel} can't be read: {error}"))),
        };
        if found.size != staged.kernel_bytes {
            let sentence = format!(
                "{kernel} has {} bytes instead of {}, which were staged",
                found.size, staged.kernel_bytes
            );
            return Err(void(ErrorCode::NewKernelVerification, sentence));
        }
        compare(
            ErrorCode::NewKernelVerification,
            kernel,
            (found.sha256, staged.kernel_sha256),
        )
    }
}

/// Reader of what is held.
struct Reader<'a> {
    priority: Priority,
    cancel: &'a CancellationToken,
}

impl Reader<'_> {
    /// Reads the image in `held`, which should have this SHA-256 and size.
    fn check(
        &self,
        held: &HeldSlot,
        name: &(impl Display + ?Sized),
        (expected, bytes): (Sha256Digest, u64),
    ) -> Result<(), Unconfirmed> {
        let code = ErrorCode::NewRootfsVerification;
        match self.read(held, bytes) {
            Ok(Some(found)) => compare(code, name, (found, expected)),
            Ok(None) => Err(Unconfirmed::NotNow("reading it was broken off".to_owned())),
            Err(error) => Err(unreadable(code, name, &error)),
        }
    }

    /// In a thread of its own: claims can't be taken back.
    fn read(&self, held: &HeldSlot, bytes: u64) -> io::Result<Option<Sha256Digest>> {
        let read = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                if let Err(error) = self.priority.claim() {
                    tracing::warn!(%error, "reading what is staged claims more than it should");
                }
                read_image(held.target(), bytes, self.cancel)
            });
            reader.join()
        });
        read.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn compare(
    code: ErrorCode,
    name: &(impl Display + ?Sized),
    (found, expected): (Sha256Digest, Sha256Digest),
) -> Result<(), Unconfirmed> {
    if found == expected {
        return Ok(());
    }
    let sentence = format!("{name} has SHA-256 {found} instead of {expected}, which was staged");
    Err(void(code, sentence))
}

fn unreadable(code: ErrorCode, name: &(impl Display + ?Sized), error: &io::Error) -> Unconfirmed {
    void(code, format!("{name}, which was staged, can't be read: {error}"))
}

pub(super) fn void(code: ErrorCode, sentence: String) -> Unconfirmed {
    Unconfirmed::Void(Failure::new(code, sentence))
}

pub(super) fn not_now(error: impl std::error::Error) -> Unconfirmed {
    Unconfirmed::NotNow(chain(&error))
}
