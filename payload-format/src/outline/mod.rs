//! The outline of a payload, for whatever device it was made: its manifest as it was written down.
//!
//! Beside [`crate::Manifest`], which holds what can be installed here and nothing else. An outline
//! takes whatever protobuf makes of it: any partitions, types of operations, lengths of hashes;
//! what is missing is missing. It checks nothing, so that nothing may be installed by it, and sets
//! nothing aside: fields are looked up in the manifest's bytes when they are asked for.
//!
//! Numbers of fields are those of `update_metadata.proto`, as of Android 16 in major version 2.

mod image;
mod message;
mod operation;

pub use image::{OutlinedContent, OutlinedImage, OutlinedInfo, PartitionExtras};
pub use operation::OutlinedOperation;

use image::{Fields, ImageName};
use message::EncodedMessage;

use crate::header::MajorVersion;
use crate::manifest::ManifestError;
use crate::manifest::cursor::{Content, Cursor};
use crate::wire;

/// A manifest as it was written down.
#[derive(Debug, Clone, Copy)]
pub struct Outline<'a> {
    version: MajorVersion,
    message: EncodedMessage<'a>,
}

/// A group of partitions that share their room, on Android's devices with dynamic partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicGroup {
    /// The group's name, as the manifest has it.
    pub name: String,
    /// Bytes that its partitions have together.
    pub size: Option<u64>,
    /// Names of the partitions in the group, in the manifest's order.
    pub partitions: Vec<String>,
}

impl<'a> Outline<'a> {
    /// Takes the manifest's bytes: those between header and signatures.
    ///
    /// # Errors
    /// [`ManifestError::Broken`] if they are no protobuf message.
    pub fn parse(manifest: &'a [u8], version: MajorVersion) -> Result<Self, ManifestError> {
        let mut cursor = Cursor {
            bytes: manifest,
            at: 0,
        };
        while cursor.at < manifest.len() {
            if let (_, Content::Bytes(len)) = cursor.field(manifest.len())? {
                cursor.at += len;
            }
        }
        Ok(Self {
            version,
            message: EncodedMessage(manifest),
        })
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        self.message.number(3).unwrap_or(wire::DEFAULT_BLOCK_SIZE.into())
    }

    /// Which operations a reader must know.
    #[must_use]
    pub fn minor_version(&self) -> Option<u64> {
        self.message.number(12)
    }

    /// Bytes of the signatures at its end; 0 if it has none.
    #[must_use]
    pub fn signatures_len(&self) -> u64 {
        self.message.number(5).unwrap_or(0)
    }

    /// Bytes from the end of the metadata to the payload's own, by all that has a place there.
    #[must_use]
    pub fn data_end(&self) -> u64 {
        let end =
            |offset: Option<u64>, len: Option<u64>| offset.unwrap_or(0).saturating_add(len.unwrap_or(0));
        let content: u64 = self
            .images()
            .filter_map(|image| image.content())
            .fold(0, |sum, content| sum.saturating_add(content.data_len));
        let operations = self.images().flat_map(|image| image.operations());
        let ends = operations
            .filter(|operation| operation.data_len().is_some_and(|len| len > 0))
            .map(|operation| end(operation.data_offset(), operation.data_len()));
        let signatures = end(self.message.number(4), self.message.number(5));
        // Content follows the data of all operations, and signatures follow both.
        let data = ends.fold(0, u64::max).saturating_add(content);
        data.max(signatures)
    }

    /// What it builds, in the payload's order.
    pub fn images(&self) -> impl Iterator<Item = OutlinedImage<'a>> + use<'a> {
        let (version, message) = (self.version, self.message);
        let has = move |fields: &[u64]| message.fields().any(|(field, _)| fields.contains(&field));
        let whole = move |name, fields: Fields, is_there: bool| {
            is_there.then_some(OutlinedImage {
                name,
                message,
                fields,
            })
        };
        let is_v1 = version == MajorVersion::V1;
        let slot = whole(ImageName::Slot, Fields::SLOT, is_v1 && has(&[1, 8, 9]));
        // Newer clients have operations that do nothing in its place.
        let kernel = whole(ImageName::OldKernel, Fields::OLD_KERNEL, is_v1 && has(&[6, 7]));
        let parts = message.all(if is_v1 { 10 } else { 13 });
        let parts = parts.map(move |part| part_of(version, EncodedMessage(part)));
        slot.into_iter().chain(kernel).chain(parts)
    }

    /// The newest build that it may be installed over, by its time.
    #[must_use]
    pub fn max_timestamp(&self) -> Option<i64> {
        self.of_v2(14).map(u64::cast_signed)
    }

    /// It leaves partitions as they are.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.of_v2(16).is_some_and(|partial| partial != 0)
    }

    /// The security patches that it brings, by date.
    #[must_use]
    pub fn security_patch_level(&self) -> Option<String> {
        let text = || self.message.text(18);
        (self.version == MajorVersion::V2).then(text).flatten()
    }

    /// What the slot's image says of itself, `os-release` and version of systemd.
    #[must_use]
    pub fn image_release(&self) -> Option<(String, Option<u64>)> {
        let release = || self.message.message(50_001);
        let release = (self.version == MajorVersion::V2).then(release).flatten()?;
        Some((release.text(1).unwrap_or_default(), release.number(2)))
    }

    /// Packages of Android's (APEX) that it names.
    #[must_use]
    pub fn apexes(&self) -> usize {
        match self.version {
            MajorVersion::V1 => 0,
            MajorVersion::V2 => self.message.all(17).count(),
        }
    }

    /// Groups of dynamic partitions.
    pub fn dynamic_groups(&self) -> impl Iterator<Item = DynamicGroup> + use<'a> {
        let dynamic = self.message.message(15);
        let dynamic = dynamic.filter(|_| self.version == MajorVersion::V2);
        let groups = dynamic
            .into_iter()
            .flat_map(|dynamic| dynamic.all(1))
            .map(EncodedMessage);
        groups.map(|group| DynamicGroup {
            name: group.text(1).unwrap_or_default(),
            size: group.number(2),
            partitions: group
                .all(3)
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect(),
        })
    }

    /// Numbers of fields that nobody here has a meaning for, ascending, the first of them.
    #[must_use]
    pub fn unknown_fields(&self) -> Vec<u64> {
        const MOST: usize = 16;
        let known = |field: u64| match self.version {
            MajorVersion::V1 => matches!(field, 1..=10 | 12),
            MajorVersion::V2 => matches!(field, 3..=5 | 12..=18 | 50_001),
        };
        let mut unknown = std::collections::BTreeSet::new();
        for (field, _) in self.message.fields() {
            if !known(field) && unknown.len() < MOST {
                unknown.insert(field);
            }
        }
        unknown.into_iter().collect()
    }

    fn of_v2(&self, field: u64) -> Option<u64> {
        let number = || self.message.number(field);
        (self.version == MajorVersion::V2).then(number).flatten()
    }
}

fn part_of(version: MajorVersion, message: EncodedMessage<'_>) -> OutlinedImage<'_> {
    let (name, fields) = match version {
        MajorVersion::V1 => {
            let number = message.number(1).map(u64::cast_signed);
            (ImageName::Procedure(number), Fields::PROCEDURE)
        }
        MajorVersion::V2 => (ImageName::Partition(message.bytes(1)), Fields::PARTITION),
    };
    OutlinedImage {
        name,
        message,
        fields,
    }
}

#[cfg(test)]
mod tests;
