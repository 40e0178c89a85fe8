//! Pairs of extra partitions, one for each slot, found by a device template from the configuration.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use nix::libc::{O_EXCL, O_PATH};

use super::sealed::unseal;
use super::{BlockTarget, DiskError, FileTarget, ForeignError, HeldSlot, OwnDisk, Sealed, SlotName};
use crate::host::Host;

/// What stands for the slot's letter in a template.
const LETTER: &str = "%s";

/// Why a pair can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// Without the letter both slots would have the same partition, and the running system's would
    /// be written.
    #[error("{0:?} must be an absolute path with one %s, for the slot's letter A or B")]
    Template(String),
    /// One of the two can't be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Path of the file or device.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// Neither a block device nor a file.
    #[error("{} is neither a block device nor a file", .0.display())]
    Kind(PathBuf),
    /// Both names lead to the same partition.
    #[error("{} and {} are the same: there must be one for each slot", target.display(), running.display())]
    Same {
        /// Path of the partition that would be written.
        target: PathBuf,
        /// Path of the partition that the running system uses.
        running: PathBuf,
    },
    /// The name led elsewhere a moment later.
    #[error("{} led to two different things one after the other", .0.display())]
    Changed(PathBuf),
    /// It is not a partition of the slots' disk.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// The slots' disk can't be looked at.
    #[error("cannot tell whether it is on the slots' disk")]
    Disk(#[from] Box<DiskError>),
    /// The running slot's was to be copied.
    #[error("it has {available} bytes, a copy of the running slot's takes {needed}")]
    TooSmall {
        /// Bytes that the target has.
        available: u64,
        /// Bytes that the running slot's has.
        needed: u64,
    },
}

/// A partition for each slot: a path in which `%s` stands for `A` or `B`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionPair(String);

/// A pair that is there.
pub struct OpenPair {
    /// The other slot's partition, ours alone until dropped.
    pub target: Arc<dyn BlockTarget>,
    /// The running slot's, for reading.
    pub source: Arc<dyn BlockTarget>,
}

impl PartitionPair {
    /// Takes `template` if it has exactly one `%s`.
    ///
    /// # Errors
    /// [`PairError::Template`].
    pub fn parse(template: &str) -> Result<Self, PairError> {
        if !template.starts_with('/') || template.matches(LETTER).count() != 1 {
            return Err(PairError::Template(template.to_owned()));
        }
        Ok(Self(template.to_owned()))
    }

    /// The partition of `slot`, as an absolute path of the host.
    #[must_use]
    pub fn path(&self, slot: SlotName) -> String {
        self.0
            .replace(LETTER, &slot.letter().to_ascii_uppercase().to_string())
    }

    /// Opens the partition of `target` for writing, exclusively, and the other slot's for reading.
    /// Both must be there, differ, and be partitions of `own`. Open the slot itself first: a name
    /// that leads to it is then refused as in use.
    ///
    /// # Errors
    /// [`PairError`] but for `Template`, `Disk` and `TooSmall`.
    pub fn open(&self, host: &Host, target: SlotName, own: &OwnDisk) -> Result<OpenPair, PairError> {
        self.open_by(Named::for_writing, host, target, own)
    }

    /// Opens both as [`Self::open`] does, but for reading: nothing is changed.
    ///
    /// # Errors
    /// Likewise.
    pub fn reserve(&self, host: &Host, target: SlotName, own: &OwnDisk) -> Result<OpenPair, PairError> {
        self.open_by(Named::reserved, host, target, own)
    }

    fn open_by(
        &self,
        open_target: fn(&Named) -> Result<Arc<dyn BlockTarget>, PairError>,
        host: &Host,
        target: SlotName,
        own: &OwnDisk,
    ) -> Result<OpenPair, PairError> {
        let written = Named::look(host, &self.path(target), own)?;
        let running = Named::look(host, &self.path(!target), own)?;
        if written.identity == running.identity {
            return Err(PairError::Same {
                target: written.path,
                running: running.path,
            });
        }
        Ok(OpenPair {
            source: running.for_reading()?,
            target: open_target(&written)?,
        })
    }
}

/// The extra partition `name`, a path of the host, exclusively and read-only at block level until
/// that is dropped. It must be a partition of `own`.
///
/// # Errors
/// [`PairError`], as [`PartitionPair::open`].
pub(super) fn hold(host: &Host, name: &str, own: &OwnDisk) -> Result<HeldSlot, PairError> {
    let named = Named::look(host, name, own)?;
    let seal = match named.identity {
        PartitionId::Device(_) => Some(Sealed::partition(&named.path).map_err(open_error(&named.path))?),
        PartitionId::File(..) => None,
    };
    Ok(HeldSlot::new(named.reserved()?, seal))
}

/// What a name leads to.
struct Named {
    path: PathBuf,
    identity: PartitionId,
}

/// What tells apart partitions and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartitionId {
    Device(u64),
    File(u64, u64),
}

impl Named {
    /// Looks where `name` leads without opening that: a device that is none of ours may be one that
    /// does something then.
    fn look(host: &Host, name: &str, own: &OwnDisk) -> Result<Self, PairError> {
        let path = host.path(name);
        let mut options = OpenOptions::new();
        let handle = options.read(true).custom_flags(O_PATH).open(&path);
        let found = handle.and_then(|handle| handle.metadata());
        let found = found.map_err(open_error(&path))?;
        let identity = PartitionId::of(&found).ok_or_else(|| PairError::Kind(path.clone()))?;
        own.require_partition(&found, name, &path)?;
        Ok(Self { path, identity })
    }

    fn for_reading(&self) -> Result<Arc<dyn BlockTarget>, PairError> {
        let mut file = self.open(OpenOptions::new().read(true))?;
        let len = file.seek(SeekFrom::End(0)).map_err(open_error(&self.path))?;
        Ok(Arc::new(FileTarget::new(Box::new(file), 0, len)))
    }

    /// For writing, by us alone; a read-only flag that a killed engine has left goes first.
    fn for_writing(&self) -> Result<Arc<dyn BlockTarget>, PairError> {
        if matches!(self.identity, PartitionId::Device(_)) {
            unseal(&self.path).map_err(open_error(&self.path))?;
        }
        self.alone(OpenOptions::new().read(true).write(true))
    }

    fn reserved(&self) -> Result<Arc<dyn BlockTarget>, PairError> {
        self.alone(OpenOptions::new().read(true))
    }

    fn alone(&self, options: &mut OpenOptions) -> Result<Arc<dyn BlockTarget>, PairError> {
        if matches!(self.identity, PartitionId::Device(_)) {
            // Without O_CREAT this means: nobody else has mounted it or opened it likewise.
            options.custom_flags(O_EXCL);
        }
        let mut file = self.open(options)?;
        let len = file.seek(SeekFrom::End(0)).map_err(open_error(&self.path))?;
        if matches!(self.identity, PartitionId::Device(_)) {
            return Ok(Arc::new(FileTarget::new(Box::new(file), 0, len)));
        }
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        let file = file.map_err(|(_, errno)| open_error(&self.path)(errno.into()))?;
        Ok(Arc::new(FileTarget::new(file, 0, len)))
    }

    /// Opens what was looked at: the name may lead elsewhere by now.
    fn open(&self, options: &OpenOptions) -> Result<File, PairError> {
        let file = options.open(&self.path).map_err(open_error(&self.path))?;
        let found = file.metadata().map_err(open_error(&self.path))?;
        if PartitionId::of(&found) == Some(self.identity) {
            Ok(file)
        } else {
            Err(PairError::Changed(self.path.clone()))
        }
    }
}

impl PartitionId {
    fn of(found: &Metadata) -> Option<Self> {
        if found.file_type().is_block_device() {
            Some(Self::Device(found.rdev()))
        } else if found.is_file() {
            Some(Self::File(found.dev(), found.ino()))
        } else {
            None
        }
    }
}

fn open_error(path: &Path) -> impl FnOnce(io::Error) -> PairError {
    let path = path.to_owned();
    move |source| PairError::Open { path, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(pair: &PartitionPair, host: &Host) -> String {
        pair.open(host, SlotName::B, &OwnDisk::image())
            .err()
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_template_without_the_letter_is_no_pair() {
        for template in ["", "/dev/sda6", "OEM-%s", "/dev/%s/%s"] {
            assert!(PartitionPair::parse(template).is_err(), "{template}");
        }
        let pair = PartitionPair::parse("/dev/disk/by-partlabel/OEM-%s").unwrap();
        assert_eq!(pair.path(SlotName::A), "/dev/disk/by-partlabel/OEM-A");
        assert_eq!(pair.path(SlotName::B), "/dev/disk/by-partlabel/OEM-B");
    }

    #[test]
    fn both_must_be_there_and_differ_and_the_target_is_ours_alone() {
        let root = tempfile::tempdir().unwrap();
        let (host, pair) = (Host::new(root.path()), PartitionPair::parse("/OEM-%s").unwrap());
        std::fs::write(host.path("/OEM-B"), [1; 100]).unwrap();
        assert!(refusal(&pair, &host).ends_with("/OEM-A"));
        std::os::unix::fs::symlink("OEM-B", host.path("/OEM-A")).unwrap();
        assert!(refusal(&pair, &host).ends_with("are the same: there must be one for each slot"));
        std::fs::remove_file(host.path("/OEM-A")).unwrap();
        std::fs::create_dir(host.path("/OEM-A")).unwrap();
        assert!(refusal(&pair, &host).ends_with("is neither a block device nor a file"));
        std::fs::remove_dir(host.path("/OEM-A")).unwrap();
        std::fs::write(host.path("/OEM-A"), [2; 50]).unwrap();
        let open = pair.open(&host, SlotName::B, &OwnDisk::image()).unwrap();
        assert_eq!((open.target.len(), open.source.len()), (100, 50));
        assert!(
            refusal(&pair, &host).ends_with("/OEM-B"),
            "somebody has it already"
        );
        drop(open);
        assert!(pair.open(&host, SlotName::B, &OwnDisk::image()).is_ok());
    }
}
