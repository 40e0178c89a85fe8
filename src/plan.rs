//! The plan of one update attempt: fixed once an offer is taken, before anything is touched.

use std::path::PathBuf;

use payload_format::{PartitionName, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::disk::{PartitionPair, SlotName};
pub use crate::net::Credentials;
use crate::omaha::MetadataClaim;
use crate::store::tolerant;

/// An extra partition that a payload may bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraPartition {
    /// The partition's name in payloads.
    pub name: PartitionName,
    /// The pair of partitions that it is written to, one for each slot.
    pub pair: PartitionPair,
}

/// An image, told by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageHashes {
    /// SHA-256 of what goes to the slot.
    pub slot: Sha256Digest,
    /// SHA-256 of its kernel; none if it comes without one and gets a copy of the running one.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub kernel: Option<Sha256Digest>,
}

impl ImageHashes {
    /// Whether it is the same image, as far as is known: a kernel that isn't told may be the
    /// other's.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let differ = self
            .kernel
            .zip(other.kernel)
            .is_some_and(|(one, other)| one != other);
        self.slot == other.slot && !differ
    }
}

/// The image of an extra partition, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionImage {
    /// Path of the partition on the host.
    pub path: String,
    /// SHA-256 of the partition's first `bytes` bytes.
    pub sha256: Sha256Digest,
    /// Size of the image in bytes.
    pub bytes: u64,
}

/// An image that the node rolled back from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedImage {
    /// Hashes of the image that was left.
    pub image: ImageHashes,
    /// Its version, for display.
    pub version: String,
    /// The cause for which it was left, in a sentence.
    pub cause: String,
}

/// A package beside the payload, itself a payload whose image becomes a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// What the file will be called, without `.raw`: letters, digits, `.`, `_` and `-`, the first
    /// of them no sign.
    pub name: String,
    /// Where the package is fetched from.
    pub url: String,
    /// Where the whole of it is asked for next, whatever is wrong with what came before.
    pub fallback_urls: Vec<String>,
    /// Bytes of the package, above 0.
    pub size: u64,
    /// SHA-256 of the package.
    pub sha256: Sha256Digest,
}

/// A content payload of the same image beside the payload. No hash of it is of use: whoever leaves
/// bytes out can't take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentPackage {
    /// As it stands in the offer.
    pub name: String,
    /// Where it is fetched from.
    pub url: String,
    /// Where it is asked for next if that is refused there, or comes too slowly.
    pub fallback_urls: Vec<String>,
    /// Bytes of all of it, above 0.
    pub size: u64,
}

/// What came of an attempt's content package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentUse {
    /// The package's name, as in the offer.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub package: String,
    /// Bytes of it that were to be fetched; known once the running slot was looked through.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub expected: Option<u64>,
    /// Bytes of it that were fetched.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub fetched: u64,
    /// Why the payload was fetched instead, in a sentence; none if it wasn't.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub failure: Option<String>,
}

/// What is put in place together with the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionPlan {
    /// Where each version has a directory, as a path of the host.
    pub directory: String,
    /// What the new one is called: fit for that.
    pub version: String,
    /// The running one, which stays as it is; empty if unknown.
    pub running_version: String,
    /// Of different names; there may be none.
    pub packages: Vec<Extension>,
}

/// What becomes of an update whose image would not merge an extension that the node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExtensionJudging {
    /// It is installed, and nobody looks.
    Off,
    /// It is installed, and status and journal name the extension.
    #[default]
    Warn,
    /// It is refused.
    Refuse,
}

/// What will be written where, and from which URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallPlan {
    /// Version the server offers; may be empty.
    pub version: String,
    /// Where the payload is fetched from in this attempt.
    pub url: String,
    /// Where it is asked for next in this attempt if that is refused there, or comes too slowly.
    pub fallback_urls: Vec<String>,
    /// Size of the whole payload in bytes, above 0.
    pub payload_size: u64,
    /// SHA-256 of the whole payload.
    pub payload_sha256: Sha256Digest,
    /// What the offer claims about header and manifest: checked before anything is written.
    pub metadata: Option<MetadataClaim>,
    /// Nothing is written unless a trusted key signed the metadata.
    pub signed_metadata: bool,
    /// The offer says that this is a delta.
    pub is_delta: bool,
    /// The content payload that is tried before this one; none unless `CONTENT_PAYLOADS` is on.
    pub content: Option<ContentPackage>,
    /// The slot to write: never the running one.
    pub target: SlotName,
    /// Kernel file of the target slot, as a path of the host (`/boot/flatcar/vmlinuz-b`).
    pub target_kernel: String,
    /// Kernel file of the running slot, likewise.
    pub source_kernel: String,
    /// Where a PCR policy in the payload goes (`/var/lib/update_engine/pcrs-b.zip`).
    pub pcr_policy: String,
    /// `PCR_POLICY_SERVER`, if set.
    pub pcr_policy_server: Option<String>,
    /// `DOWNLOAD_USER` and `DOWNLOAD_PASSWORD`, for the payload's server; sent over https only.
    pub credentials: Option<Credentials>,
    /// Extra partitions that the payload may bring, of different names.
    pub extra_partitions: Vec<ExtraPartition>,
    /// Packages beside the payload, if the daemon is to put any in place.
    pub extensions: Option<ExtensionPlan>,
    /// What the node's own extensions mean for the update.
    pub extensions_judged: ExtensionJudging,
    /// Images that are not to be installed, whatever package they come in.
    pub blocked_images: Vec<BlockedImage>,
    /// Trusted public keys (PEM files), read when the signature is checked.
    pub public_keys: Vec<PathBuf>,
}
