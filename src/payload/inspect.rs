//! What a payload says of itself, for people and for scripts.

use std::collections::BTreeMap;
use std::fmt;

use payload_format::{Extent, Image, ImageInfo, Manifest, Operation};
use serde::Serialize;

use super::file::{PayloadError, PayloadFile};

/// A payload's description. Nothing in it is verified; field names are those of the JSON form.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The payload.
    pub file: String,
    /// Bytes that the file has.
    pub file_size: u64,
    /// Bytes that it should have by its manifest.
    pub payload_size: u64,
    /// Major version of the format.
    pub version: u64,
    /// Bytes of header and manifest.
    pub metadata_size: u64,
    /// Bytes of the signatures of both; 0 if there are none, as in version 1.
    pub metadata_signatures_size: u64,
    /// Of header and manifest, in hexadecimal digits.
    pub metadata_sha256: String,
    /// Bytes.
    pub block_size: u64,
    /// It needs the old image.
    pub delta: bool,
    /// Bytes of signatures; 0 if it isn't signed.
    pub signatures_size: u64,
    /// What it builds.
    pub images: Vec<ImageDescription>,
    /// How it builds it.
    pub operations: Vec<OperationDescription>,
}

/// One image that a payload builds.
#[derive(Debug, Clone, Serialize)]
pub struct ImageDescription {
    /// Which.
    pub kind: String,
    /// The image it is built from.
    pub old: Option<Sum>,
    /// What it must become.
    pub new: Sum,
    /// How many operations of each kind.
    pub operations: BTreeMap<&'static str, usize>,
    /// Bytes of data.
    pub data_size: u64,
}

/// Size and hash of an image.
#[derive(Debug, Clone, Serialize)]
pub struct Sum {
    /// Bytes.
    pub size: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// One operation.
#[derive(Debug, Clone, Serialize)]
pub struct OperationDescription {
    /// Number within the payload.
    pub number: u32,
    /// Which image it builds.
    pub image: String,
    /// The original's name of its type.
    pub kind: &'static str,
    /// Offset of its data from the metadata's end; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_offset: Option<u64>,
    /// Bytes of data; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_length: Option<u64>,
    /// Of its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_sha256: Option<String>,
    /// First block and number of blocks; no first block where nothing is written.
    pub destination: Vec<(Option<u64>, u64)>,
}

/// Describes a payload by its header and manifest.
///
/// # Errors
/// [`PayloadError`].
pub fn inspect(payload: &PayloadFile) -> Result<Inspection, PayloadError> {
    let metadata = payload.metadata()?;
    let manifest = &metadata.manifest;
    Ok(Inspection {
        file: payload.path().display().to_string(),
        file_size: payload.size(),
        payload_size: metadata
            .size
            .saturating_add(metadata.signatures_size)
            .saturating_add(manifest.data_len())
            .saturating_add(manifest.signatures_len()),
        version: manifest.version().number(),
        metadata_size: metadata.size,
        metadata_signatures_size: metadata.signatures_size,
        metadata_sha256: metadata.sha256.to_string(),
        block_size: manifest.block_size().bytes(),
        delta: manifest.is_delta(),
        signatures_size: manifest.signatures_len(),
        images: manifest
            .images()
            .iter()
            .map(|image| ImageDescription::new(manifest, image))
            .collect(),
        operations: manifest
            .operations()
            .iter()
            .map(OperationDescription::new)
            .collect(),
    })
}

impl ImageDescription {
    fn new(manifest: &Manifest, image: &Image) -> Self {
        let mut operations = BTreeMap::new();
        for operation in manifest.operations_of(image) {
            *operations.entry(operation.kind.name()).or_default() += 1;
        }
        Self {
            kind: image.kind.to_string(),
            old: image.old.as_ref().map(Sum::new),
            new: Sum::new(&image.new),
            operations,
            data_size: manifest
                .operations_of(image)
                .iter()
                .map(Operation::data_len)
                .sum(),
        }
    }
}

impl OperationDescription {
    fn new(operation: &Operation) -> Self {
        let extent = |extent: &Extent| match extent {
            Extent::Blocks(range) => (Some(range.start()), range.count()),
            Extent::Hole(count) => (None, u64::from(*count)),
        };
        Self {
            number: operation.id.number(),
            image: operation.image.to_string(),
            kind: operation.kind.name(),
            data_offset: operation.data.map(|data| data.offset),
            data_length: operation.data.map(|data| data.len),
            data_sha256: operation.data.map(|data| data.sha256.to_string()),
            destination: operation.destination.iter().map(extent).collect(),
        }
    }
}

impl Sum {
    fn new(info: &ImageInfo) -> Self {
        Self {
            size: info.size,
            sha256: info.sha256.to_string(),
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, SHA-256 {}", self.size, self.sha256)
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.delta { "delta" } else { "full" };
        writeln!(
            f,
            "{}: {kind} payload of {} bytes, version {}, blocks of {}",
            self.file, self.payload_size, self.version, self.block_size
        )?;
        if self.file_size != self.payload_size {
            writeln!(
                f,
                "the file has {} bytes: it is cut off or has something appended",
                self.file_size
            )?;
        }
        writeln!(
            f,
            "metadata: {} bytes, SHA-256 {}",
            self.metadata_size, self.metadata_sha256
        )?;
        if self.metadata_signatures_size > 0 {
            let size = self.metadata_signatures_size;
            writeln!(f, "  signed: {size} bytes of signatures, not checked here")?;
        }
        for image in &self.images {
            writeln!(f, "{}: {}", image.kind, image.new)?;
            if let Some(old) = &image.old {
                writeln!(f, "  from: {old}")?;
            }
            let counts: Vec<_> = image
                .operations
                .iter()
                .map(|(kind, n)| format!("{n} {kind}"))
                .collect();
            writeln!(
                f,
                "  by: {}; {} bytes of data",
                counts.join(", "),
                image.data_size
            )?;
        }
        match self.signatures_size {
            0 => writeln!(f, "not signed"),
            size => writeln!(f, "signed: {size} bytes of signatures, not checked here"),
        }
    }
}
