//! The description of a payload, for people and for scripts: any payload, those for other devices
//! included, and what nodes would refuse of it.

mod image;
mod text;

use payload_format::{
    DynamicGroup, ExtraPartitionLimits, FormatError, ImageKind, Limits, Manifest, Outline, Sha256Digest,
};
use serde::Serialize;

use self::image::Operations;
pub use self::image::{ContentDescription, ImageDescription, Sum};
use super::check::{refusals_of_images, refusals_of_signatures};
use super::file::{PayloadError, PayloadFile};

/// Images that are described, at most. A manifest of 8 MiB could name millions.
const MAX_IMAGES: usize = 1 << 16;

/// A payload's description. Nothing in it is verified; field names are those of the JSON form.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The payload's path, as it was given.
    pub file: String,
    /// Bytes that the file has.
    pub file_size: u64,
    /// Bytes that it should have by its manifest.
    pub payload_size: u64,
    /// Major version of the format.
    pub version: u64,
    /// Minor version, where the manifest says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor_version: Option<u64>,
    /// Bytes of header and manifest.
    pub metadata_size: u64,
    /// Bytes of the signatures of both; 0 if there are none, as in version 1.
    pub metadata_signatures_size: u64,
    /// Of header and manifest, in hexadecimal digits.
    pub metadata_sha256: String,
    /// Bytes of a block, which extents count in.
    pub block_size: u64,
    /// It needs the old image.
    pub delta: bool,
    /// Bytes of signatures; 0 if it isn't signed.
    pub signatures_size: u64,
    /// What only Android has a use for.
    #[serde(skip_serializing_if = "Android::is_empty")]
    pub android: Android,
    /// Numbers of fields of the manifest that have no known meaning.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_fields: Vec<u64>,
    /// The images that it builds.
    pub images: Vec<ImageDescription>,
    /// Why no node installs it, in sentences; empty if its form is right.
    pub refused: Vec<String>,
    /// All operations, in their order.
    pub operations: Operations,
}

/// What only Android has a use for.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Android {
    /// The newest build that it may be installed over, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_timestamp: Option<i64>,
    /// Date of its security patches, `YYYY-MM-DD` or as the payload says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_patch_level: Option<String>,
    /// Partitions that it doesn't name stay.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// APEX packages that it names.
    #[serde(skip_serializing_if = "is_zero")]
    pub apexes: usize,
    /// Groups of dynamic partitions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dynamic_groups: Vec<PartitionGroup>,
}

/// A group of dynamic partitions.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionGroup {
    /// The group's name, as the manifest has it.
    pub name: String,
    /// Bytes for all of them.
    pub size: Option<u64>,
    /// Names of the partitions in the group.
    pub partitions: Vec<String>,
}

// serde's way of asking.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Describes a payload by its header and manifest.
///
/// # Errors
/// [`PayloadError`], if they aren't there, or are longer than anybody reads.
pub fn inspect(payload: &PayloadFile) -> Result<Inspection, PayloadError> {
    let (header, signed) = payload.beginning()?;
    let manifest = signed.get(header.version.header_len()..).unwrap_or_default();
    let outline = Outline::parse(manifest, header.version);
    let outline = outline.map_err(|error| payload.refused(error.into()))?;
    let images: Vec<_> = outline.images().take(MAX_IMAGES).collect();
    let of_metadata = u64::from(header.metadata_signatures_len);
    let metadata_size = signed.len() as u64;
    let kinds = images
        .iter()
        .map(|image| (image.kind(), image.old_info().is_some()));
    let refused_by_all = refusals_of_signatures(header.version, outline.signatures_len(), of_metadata)
        .into_iter()
        .chain(refusals_of_images(kinds))
        .map(|refusal| refusal.to_string());
    let form = Manifest::refusals(manifest, header.version, &anywhere());
    let form = form.iter().map(ToString::to_string);
    Ok(Inspection {
        file: payload.path().display().to_string(),
        file_size: payload.size(),
        payload_size: metadata_size
            .saturating_add(of_metadata)
            .saturating_add(outline.data_end()),
        version: header.version.number(),
        minor_version: outline.minor_version(),
        metadata_size,
        metadata_signatures_size: of_metadata,
        metadata_sha256: Sha256Digest::of(&signed).to_string(),
        block_size: outline.block_size(),
        delta: images.iter().any(|image| image.old_info().is_some()),
        signatures_size: outline.signatures_len(),
        android: Android::of(&outline),
        unknown_fields: outline.unknown_fields(),
        images: images.iter().map(ImageDescription::new).collect(),
        refused: too_long(of_metadata)
            .into_iter()
            .chain(form)
            .chain(refused_by_all)
            .collect(),
        operations: Operations::new(header.version, manifest),
    })
}

/// More than is read of the metadata's signatures.
fn too_long(of_metadata: u64) -> Option<String> {
    let refusal = FormatError::MetadataSignatureLength(of_metadata);
    (of_metadata > Manifest::MAX_SIGNATURES).then(|| refusal.to_string())
}

/// The limits of a node with a slot of any length, and any partitions, that takes content payloads.
const fn anywhere() -> Limits {
    Limits {
        extra_partitions: ExtraPartitionLimits::Any,
        content_payloads: true,
        ..Limits::for_slot(u64::MAX)
    }
}

impl Android {
    fn of(outline: &Outline<'_>) -> Self {
        let group = |group: DynamicGroup| PartitionGroup {
            name: group.name,
            size: group.size,
            partitions: group.partitions,
        };
        Self {
            max_timestamp: outline.max_timestamp(),
            security_patch_level: outline.security_patch_level(),
            partial: outline.is_partial(),
            apexes: outline.apexes(),
            dynamic_groups: outline.dynamic_groups().take(MAX_IMAGES).map(group).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.max_timestamp.is_none()
            && self.security_patch_level.is_none()
            && !self.partial
            && self.apexes == 0
            && self.dynamic_groups.is_empty()
    }
}

/// Where a node puts an image, if that isn't said by its kind.
fn needs_target(kind: Option<ImageKind>) -> Option<String> {
    match kind {
        Some(ImageKind::ExtraPartition(name)) => Some(format!("PARTITION_{name}")),
        _ => None,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Invariant: a string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
