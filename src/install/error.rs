//! `InstallError`: why an update ended without a slot that boots next.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use payload_format::{
    ApplyError, FormatError, HeaderError, ImageInfo, ImageKind, PartitionName, Sha256Digest, SignatureError,
};

use super::{KernelError, PostinstError};
use crate::disk::{DiskError, ForeignError, PairError, SlotName};
use crate::extension::{ExtensionError, ExtensionStoreError};
use crate::fetch::FetchError;
use crate::image::WrongImage;
use crate::plan::{BlockedImage, ImageHashes};
use crate::store::record::RecordError;

/// Who vouches for what a manifest says, before all of its payload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voucher {
    /// Somebody whose key is trusted.
    TrustedKey,
    /// Nobody yet.
    Nobody,
}

/// Why an update ended without a slot that boots next. The variants tell apart what servers have
/// codes for; each names its place and value.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No trusted key is configured at all.
    #[error("no public key to check payloads with: nothing is installed without")]
    NoKeys,
    /// A trusted key can't be read.
    #[error("cannot read the public key {}", path.display())]
    KeyFile {
        /// Its file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A trusted key is no key, or too weak.
    #[error("cannot use the public keys")]
    Keys(#[source] SignatureError),
    /// A slot that is staged could boot: its postinst, or somebody else, has changed the table.
    #[error("{slot} is to stay unbootable until it is activated")]
    NotUnbootable {
        /// The slot that the update was written to.
        slot: SlotName,
        /// What the table says.
        source: DiskError,
    },
    /// What was staged is not what was verified, or can't be read.
    #[error("what is staged in {slot} can't be taken note of")]
    Staging {
        /// The slot that the update was written to.
        slot: SlotName,
        /// What can't be read.
        source: io::Error,
    },
    /// The running slot is on trial, or is the slot to be written.
    #[error("the running slot {running} has to be good before {target} is written")]
    RunningNotGood {
        /// The slot that runs.
        running: SlotName,
        /// The slot that would be written.
        target: SlotName,
        /// The error of disk or table.
        source: DiskError,
    },
    /// The slot to write, or the one to read, can't be opened.
    #[error("cannot open {slot}")]
    Open {
        /// The slot concerned.
        slot: SlotName,
        /// The error of disk or table.
        source: DiskError,
    },
    /// The kernel doesn't get to its place on the boot partition. The text up to the source is
    /// watched for by distributions' tests, word by word.
    #[error("Failed to copy kernel from {} to {}", from.display(), to.display())]
    Kernel {
        /// The running slot's kernel.
        from: PathBuf,
        /// The target slot's.
        to: PathBuf,
        /// The error of the kernel's file.
        source: KernelError,
    },
    /// The engine's own files could not be written.
    #[error("cannot write in {}", path.display())]
    StateDirectory {
        /// Where they are, or would be made.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The engine's own files would not fit.
    #[error("{} has {available} free bytes, the engine's own files need {needed}", path.display())]
    StateFull {
        /// Where they are, or would be made.
        path: PathBuf,
        /// Bytes that are free there.
        available: u64,
        /// Bytes that have to be.
        needed: u64,
    },
    /// The payload doesn't come.
    #[error("cannot download the payload")]
    Fetch(#[source] FetchError),
    /// The payload is wrong, and came in an encoding that was not asked for.
    #[error(
        "the payload came in Content-Encoding {encoding:?}, which was not asked for: its server, or a proxy before it, must send it as it is"
    )]
    Encoded {
        /// Value of the header.
        encoding: String,
        /// What is wrong with the bytes as they came.
        source: Box<InstallError>,
    },
    /// The payload makes no sense, or asks for what may not be.
    #[error("the payload is refused")]
    Format(#[source] FormatError),
    /// A delta for another image than the one that runs.
    #[error("the delta is for an image with SHA-256 {expected}, {slot} has {found}")]
    WrongSource {
        /// The running slot.
        slot: SlotName,
        /// SHA-256 of the image that the delta was made from.
        expected: Sha256Digest,
        /// SHA-256 of the bytes in the slot.
        found: Sha256Digest,
    },
    /// The payload carries no signature, so that no key could vouch for it.
    #[error("the payload is not signed")]
    Unsigned,
    /// The node rolled back from the image that the payload makes, in whatever package it came
    /// then. Told in the words of a payload that comes again.
    #[error(
        "this machine rolled back from version {:?} ({}), and the payload makes the same image; it is installed again only on demand",
        blocked.version,
        blocked.cause
    )]
    Blocked {
        /// The image that the node rolled back from.
        blocked: Box<BlockedImage>,
        /// The image that the payload makes.
        image: ImageHashes,
        /// The signature that vouches for the hashes.
        voucher: Voucher,
    },
    /// A delta for another kernel than the one that runs.
    #[error("the delta is for a kernel with SHA-256 {expected} and {expected_size} bytes, {} has {found} and {size}", path.display())]
    WrongSourceKernel {
        /// The running slot's kernel.
        path: PathBuf,
        /// SHA-256 of the image that the delta was made from.
        expected: Sha256Digest,
        /// Its bytes.
        expected_size: u64,
        /// SHA-256 of the bytes in the file.
        found: Sha256Digest,
        /// Its bytes.
        size: u64,
    },
    /// The state of an earlier attempt can't be removed, so that it might be resumed wrongly after
    /// a cut; or it can't be kept which partitions are torn.
    #[error("cannot change what is remembered of attempts")]
    State(#[source] RecordError),
    /// A delta for a larger image than the slot can hold.
    #[error("the delta is for an image of {expected} bytes, {slot} has {available}")]
    SourceTooSmall {
        /// The running slot.
        slot: SlotName,
        /// Bytes that the delta was made from.
        expected: u64,
        /// Bytes that the slot has.
        available: u64,
    },
    /// What a delta was made from can't be read.
    #[error("cannot read the delta's source {what}")]
    ReadSource {
        /// Slot or file.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// The slot can't be made unbootable; it was not touched then.
    #[error("cannot make {slot} unbootable, so it is not written")]
    MakeUnbootable {
        /// The slot that would be written.
        slot: SlotName,
        /// The error of disk or table.
        source: DiskError,
    },
    /// An operation can't be carried out.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A slot or a file can't be read, written or synced.
    #[error("{action} {what}")]
    Io {
        /// `reading`, `writing`, `syncing`.
        action: &'static str,
        /// Slot or file.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// The payload is not the one that was offered.
    #[error("the payload has SHA-256 {found}, offered was {expected}")]
    PayloadHash {
        /// As offered.
        expected: Sha256Digest,
        /// SHA-256 of the bytes that came.
        found: Sha256Digest,
    },
    /// The offer's signature of the metadata is by no trusted key.
    #[error("the signature of the payload's metadata is refused")]
    MetadataSignature(#[source] SignatureError),
    /// The metadata has no signature, and must have one here.
    #[error("the offer has no signature of the payload's metadata, which REQUIRE_SIGNED_METADATA asks for")]
    MetadataUnsigned,
    /// No trusted key has signed the payload.
    #[error("the payload's signature is refused")]
    Signature(#[source] SignatureError),
    /// The slot, read back, is not the image.
    #[error("{slot} has SHA-256 {found} after the update, the payload says {expected}")]
    SlotVerification {
        /// The slot.
        slot: SlotName,
        /// As the payload says.
        expected: Sha256Digest,
        /// As read from the medium.
        found: Sha256Digest,
    },
    /// The kernel or the PCR policy, read back, is not the one that it must be.
    #[error("{} has SHA-256 {found} and {size} bytes instead of {} and {}", path.display(), expected.sha256, expected.size)]
    FileVerification {
        /// The image that the file holds.
        image: ImageKind,
        /// The file.
        path: PathBuf,
        /// As the payload says. Apart, since errors are returned from everywhere.
        expected: Box<ImageInfo>,
        /// As read from the medium.
        found: Sha256Digest,
        /// Bytes, as read from the medium.
        size: u64,
    },
    /// The PCR policy's server didn't take it.
    #[error("cannot post the PCR policy to {url}")]
    PcrPost {
        /// `PCR_POLICY_SERVER`.
        url: String,
        /// The error of the download.
        source: FetchError,
    },
    /// The image's own script, or what it takes to run it.
    #[error("the new image's postinst failed")]
    Postinst(#[source] PostinstError),
    /// The boot attributes can't be set.
    #[error("cannot make {slot} boot next")]
    Commit {
        /// The slot.
        slot: SlotName,
        /// The error of disk or table.
        source: DiskError,
    },
    /// Kernels would be written to another disk than the slots'.
    #[error("kernels don't lie on the slots' disk")]
    KernelDisk(#[source] Box<ForeignError>),
    /// The slots' disk can't be looked at.
    #[error("cannot look at the slots' disk")]
    OwnDisk(#[source] Box<DiskError>),
    /// A partition that the payload brings has a target that can't be used.
    #[error("the target of partition {name} can't be used")]
    Target {
        /// The partition.
        name: PartitionName,
        /// The error of the pair.
        source: Arc<PairError>,
    },
    /// A partition without a target.
    #[error("partition {0} has no target here")]
    NoTarget(PartitionName),
    /// A delta for another partition than the running system's.
    #[error(
        "the delta is for a partition {name} with SHA-256 {expected}, that of the running system has {found}"
    )]
    WrongSourcePartition {
        /// The partition.
        name: PartitionName,
        /// SHA-256 of the image that the delta was made from.
        expected: Sha256Digest,
        /// SHA-256 of the bytes that are there.
        found: Sha256Digest,
    },
    /// An extension that configuration names can't be had, or isn't what it should be.
    #[error("extension {name} can't be installed")]
    Extension {
        /// Its name, without `.gz`.
        name: String,
        /// Why not. Apart, since errors are returned from everywhere.
        source: Box<ExtensionError>,
    },
    /// The image is not for this node, or its kernel not for it.
    #[error(transparent)]
    WrongImage(#[from] WrongImage),
    /// Extensions of the node would be merged no more, each in a sentence; there are some.
    #[error("{}", .0.join("; "))]
    ExtensionsLost(Vec<String>),
    /// Extensions would not fit.
    #[error("no room for the update's extensions")]
    ExtensionsRoom(#[source] Box<ExtensionError>),
    /// Extensions can't be put in place.
    #[error("the update's extensions can't be put in place")]
    Extensions(#[from] ExtensionStoreError),
    /// Nobody wants the update any more.
    #[error("the update was cancelled")]
    Cancelled,
}

impl InstallError {
    /// An I/O error that happened while `action` was done to `what`.
    pub(super) fn io(action: &'static str, what: &impl std::fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { action, what, source }
    }

    /// The same, of bytes that came in `encoding`: where they are not the payload's, that is why.
    pub(super) fn came_in(self, encoding: Option<String>) -> Self {
        let is_about_bytes = matches!(
            self,
            Self::PayloadHash { .. }
                | Self::Format(
                    FormatError::Header(HeaderError::Magic(_))
                        | FormatError::OperationHash { .. }
                        | FormatError::Truncated { .. }
                )
        );
        match encoding {
            Some(encoding) if is_about_bytes => Self::Encoded {
                encoding,
                source: Box::new(self),
            },
            _ => self,
        }
    }

    /// An I/O error that happened while a delta's source `what` was read.
    pub(super) fn source(what: &impl std::fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::ReadSource { what, source }
    }

    /// Whether a later attempt may go on from the checkpoint: the network failed, the daemon
    /// stopped, or what is wrong is not with the payload. After anything else the data itself is in
    /// doubt, and the next attempt starts over.
    pub(super) const fn leaves_checkpoint(&self) -> bool {
        matches!(self, Self::Fetch(_) | Self::Cancelled) || !self.is_about_payload()
    }

    /// Whether something is wrong with the payload, as far as is known. What fails before the slot
    /// is touched and after it was verified is the node's: another program has the disk's lock, the
    /// engine's own files can't be written.
    #[must_use]
    pub const fn is_about_payload(&self) -> bool {
        let is_about_node = matches!(
            self,
            Self::RunningNotGood { .. }
                | Self::Open { .. }
                | Self::State(_)
                | Self::StateDirectory { .. }
                | Self::StateFull { .. }
                | Self::MakeUnbootable { .. }
                | Self::Commit { .. }
                | Self::NotUnbootable { .. }
                | Self::Staging { .. }
                | Self::KernelDisk(_)
                | Self::OwnDisk(_)
                | Self::ExtensionsLost(_)
        );
        !matches!(self, Self::Cancelled | Self::Blocked { .. })
            && !is_about_node
            && !self.is_about_extensions()
    }

    /// Whether what comes beside the payload has failed, and nothing is known of the payload
    /// itself.
    #[must_use]
    pub const fn is_about_extensions(&self) -> bool {
        matches!(
            self,
            Self::Extension { .. } | Self::ExtensionsRoom(_) | Self::Extensions(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_is_not_ready_for_is_no_fault_of_the_payload() {
        let slot = SlotName::B;
        let disk = || DiskError::Unlockable {
            disk: PathBuf::from("/dev/vda"),
            source: io::Error::from(io::ErrorKind::PermissionDenied),
        };
        let full = InstallError::StateFull {
            path: PathBuf::from("/var/lib/update_engine"),
            available: 0,
            needed: 1,
        };
        for of_the_node in [
            InstallError::Open { slot, source: disk() },
            InstallError::MakeUnbootable { slot, source: disk() },
            InstallError::Commit { slot, source: disk() },
            full,
        ] {
            assert!(!of_the_node.is_about_payload(), "{of_the_node}");
            assert!(of_the_node.leaves_checkpoint(), "{of_the_node}");
        }
        let medium = InstallError::io("writing", &slot)(io::Error::from(io::ErrorKind::Other));
        for of_the_payload in [InstallError::Unsigned, medium] {
            assert!(
                of_the_payload.is_about_payload() && !of_the_payload.leaves_checkpoint(),
                "{of_the_payload}"
            );
        }
    }
}
