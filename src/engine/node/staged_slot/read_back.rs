//! Reading a staged update back: its slot, the partitions beside it, its kernel. What is no file is
//! held from before it is read.

use std::fmt::Display;
use std::io;
use std::sync::atomic::Ordering;
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
use crate::store::record::is_passing;

/// After so many readings in a row that fail by an error that may stay, what is staged counts as
/// lost: it is installed anew, where the node would get no update any more.
const MOST_FAILED_READINGS: u8 = 3;

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
            StagedFate::Tried | StagedFate::Void => {
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
            staged: self,
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
        self.failed_readings.store(0, Ordering::Relaxed);
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
                let sentence = format!("{kernel}, which was staged, is not there");
                return Err(void(ErrorCode::NewKernelVerification, sentence));
            }
            Err(error) => return Err(self.unreadable(ErrorCode::NewKernelVerification, kernel, &error)),
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

    /// What `name` holds can't be read: the error may pass. What ends before its time holds
    /// something else.
    fn unreadable(&self, code: ErrorCode, name: &(impl Display + ?Sized), error: &io::Error) -> Unconfirmed {
        let sentence = format!("{name}, which was staged, can't be read: {error}");
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return void(code, sentence);
        }
        let stays = !is_passing(error);
        if stays && self.failed_readings.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_FAILED_READINGS {
            return void(code, sentence);
        }
        Unconfirmed::NotNow(sentence)
    }
}

/// Reader of what is held.
struct Reader<'a> {
    staged: &'a StagedSlot,
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
            Err(error) => Err(self.staged.unreadable(code, name, &error)),
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

pub(super) fn void(code: ErrorCode, sentence: String) -> Unconfirmed {
    Unconfirmed::Void(Failure::new(code, sentence))
}

pub(super) fn not_now(error: impl std::error::Error) -> Unconfirmed {
    Unconfirmed::NotNow(chain(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nix::errno::Errno;

    use super::super::super::{DiskChoice, Machine, Settings};
    use super::*;
    use crate::disk::BlockTarget;
    use crate::host::Host;
    use crate::install::PostinstMode;

    /// A slot that can't be read, and why.
    struct Unreadable(Errno);

    impl BlockTarget for Unreadable {
        fn len(&self) -> u64 {
            4096
        }

        fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<()> {
            Err(self.0.into())
        }

        fn write_at(&self, _buffer: &[u8], _offset: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn forget(&self, _offset: u64, _len: u64) {}
    }

    /// Whether each of five readings, one after the other, counts the update as lost.
    fn lost(errno: Errno, bytes: u64) -> [bool; 5] {
        let machine = Machine::new(Settings {
            host: Host::new("/nowhere"),
            disk: DiskChoice::OfUsr,
            postinst: PostinstMode::Skip,
        });
        let staged = StagedSlot::new(&Arc::new(machine));
        let reader = Reader {
            staged: &staged,
            priority: Priority::Normal,
            cancel: &CancellationToken::new(),
        };
        let held = HeldSlot::new(Arc::new(Unreadable(errno)), None);
        let expected = (Sha256Digest::of(b"image"), bytes);
        [(); 5].map(|()| match reader.check(&held, "USR-B", expected) {
            Err(Unconfirmed::Void(_)) => true,
            Err(Unconfirmed::NotNow(_)) => false,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_slot_that_can_not_be_read_is_lost_after_the_third_time_and_for_want_of_memory_never() {
        assert_eq!(lost(Errno::EIO, 4096), [false, false, true, true, true]);
        assert_eq!(lost(Errno::ENOMEM, 4096), [false; 5]);
        assert_eq!(lost(Errno::ENOMEM, 8192), [true; 5], "it is too short");
    }
}
