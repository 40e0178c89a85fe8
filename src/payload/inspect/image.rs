//! One image of a payload, and all operations of a payload for scripts: these are found in the
//! manifest's bytes one by one while they are written out, since a manifest can hold a hundred times
//! its own size of them.

use std::collections::BTreeMap;

use payload_format::{
    MajorVersion, Outline, OutlinedContent, OutlinedImage, OutlinedInfo, OutlinedOperation, PartitionExtras,
};
use serde::{Serialize, Serializer};

use super::{hexadecimal, needs_target};

/// Kinds of operations that are counted apart. There are fifteen; numbers without a meaning could
/// be millions.
const MAX_KINDS: usize = 32;

/// One image that a payload builds.
#[derive(Debug, Clone, Serialize)]
pub struct ImageDescription {
    /// What image it is, in words, or the partition's name.
    pub kind: String,
    /// The setting that has to name its place on a node, for one that is neither the slot nor one
    /// of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The image it is built from.
    pub old: Option<Sum>,
    /// What it must become, if that is said.
    pub new: Option<Sum>,
    /// How it is made of content, in content payloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentDescription>,
    /// The first byte of the slot's content that it is, in place of operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_start: Option<u64>,
    /// How many operations of each kind.
    pub operations: BTreeMap<String, usize>,
    /// Length of its data, in bytes.
    pub data_size: u64,
    /// What is to be done beside, in sentences' parts; for nobody here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<String>,
}

/// How an image is made of content.
#[derive(Debug, Clone, Serialize)]
pub struct ContentDescription {
    /// Chunks that the content is cut into.
    pub chunks: usize,
    /// Segments that the image is made of.
    pub segments: usize,
    /// Names of the encoders that make segments, with their levels.
    pub encoders: Vec<String>,
    /// Blocks at the image's beginning whose hash tree is computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_tree_of: Option<u64>,
    /// Old images that there are patches for.
    #[serde(skip_serializing_if = "is_none")]
    pub predecessors: usize,
}

/// serde lends what it asks about.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_none(count: &usize) -> bool {
    *count == 0
}

/// Size and hash of an image, as far as they are said.
#[derive(Debug, Clone, Serialize)]
pub struct Sum {
    /// Bytes of the image; none if the manifest doesn't say.
    pub size: Option<u64>,
    /// SHA-256 of the image, in hexadecimal digits.
    pub sha256: Option<String>,
}

impl ImageDescription {
    pub(super) fn new(image: &OutlinedImage<'_>) -> Self {
        let (mut operations, mut data_size) = (BTreeMap::new(), 0_u64);
        for operation in image.operations() {
            let mut kind = kind(&operation);
            if operations.len() >= MAX_KINDS && !operations.contains_key(&kind) {
                "of other types".clone_into(&mut kind);
            }
            *operations.entry(kind).or_default() += 1;
            data_size = data_size.saturating_add(operation.data_len().unwrap_or(0));
        }
        let content = image.content();
        data_size = data_size.saturating_add(content.as_ref().map_or(0, |content| content.data_len));
        Self {
            kind: image.to_string(),
            content: content.map(ContentDescription::new),
            content_start: image.content_start(),
            target: needs_target(image.kind()),
            old: image.old_info().map(Sum::new),
            new: image.new_info().map(Sum::new),
            operations,
            data_size,
            extras: extras(&image.extras()),
        }
    }
}

impl ContentDescription {
    fn new(content: OutlinedContent) -> Self {
        let encoder = |(name, level): (String, i64)| format!("{} level {level}", name.escape_debug());
        Self {
            chunks: content.chunks,
            segments: content.segments,
            encoders: content.encoders.into_iter().map(encoder).collect(),
            hash_tree_of: content.hash_tree_of,
            predecessors: content.predecessors,
        }
    }
}

impl Sum {
    fn new(info: OutlinedInfo<'_>) -> Self {
        Self {
            size: info.size,
            sha256: info.hash.map(hexadecimal),
        }
    }
}

/// Each in words.
fn extras(extras: &PartitionExtras) -> Vec<String> {
    let escaped = |text: &String| text.escape_debug().to_string();
    let extent = |what, extent: Option<(Option<u64>, u64)>| {
        extent.map(|(start, count)| {
            let start = start.map_or_else(String::new, |start| format!(" from {start}"));
            format!("{what} to be computed for {count} blocks{start}")
        })
    };
    let counted = |what, count: usize| (count > 0).then(|| format!("{count} {what}"));
    [
        extras
            .version
            .as_ref()
            .map(|text| format!("version {}", escaped(text))),
        extras
            .file_system
            .as_ref()
            .map(|text| format!("file system {}", escaped(text))),
        extras.postinstall.as_ref().map(|program| match program.as_str() {
            "" => "runs the image's postinst".to_owned(),
            _ => format!("runs {}", escaped(program)),
        }),
        extent("hash tree", extras.hash_tree),
        extent("error correction", extras.error_correction),
        counted("operations on a snapshot", extras.merge_operations),
        extras
            .snapshot_size
            .map(|size| format!("snapshot of {size} bytes")),
        counted("signatures of the partition", extras.signatures),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// All operations.
#[derive(Debug, Clone)]
pub struct Operations {
    version: MajorVersion,
    manifest: Vec<u8>,
}

/// One operation.
#[derive(Debug, Serialize)]
struct OperationDescription {
    /// Number within the payload.
    number: usize,
    /// Name of the image that it builds.
    image: String,
    /// The original's name of its type.
    kind: String,
    /// Offset of its data from the metadata's end; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_offset: Option<u64>,
    /// Bytes of data; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_length: Option<u64>,
    /// SHA-256 of its data, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_sha256: Option<String>,
    /// First block and number of blocks; no first block where nothing is written.
    destination: Vec<(Option<u64>, u64)>,
}

impl Operations {
    pub(super) fn new(version: MajorVersion, manifest: &[u8]) -> Self {
        Self {
            version,
            manifest: manifest.to_vec(),
        }
    }
}

impl Serialize for Operations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let outline = Outline::parse(&self.manifest, self.version).map_err(serde::ser::Error::custom)?;
        let operations = outline.images().flat_map(|image| {
            let name = image.to_string();
            image.operations().map(move |operation| (name.clone(), operation))
        });
        serializer.collect_seq(
            operations
                .enumerate()
                .map(|(number, (image, operation))| describe(number, image, &operation)),
        )
    }
}

fn describe(number: usize, image: String, operation: &OutlinedOperation<'_>) -> OperationDescription {
    let has_data = operation.data_len().is_some_and(|len| len > 0);
    OperationDescription {
        number,
        image,
        kind: kind(operation),
        data_offset: operation.data_offset().filter(|_| has_data),
        data_length: operation.data_len().filter(|_| has_data),
        data_sha256: operation.data_hash().map(hexadecimal),
        destination: operation.destination().collect(),
    }
}

/// The name of its type, or what there is instead.
pub(super) fn kind(operation: &OutlinedOperation<'_>) -> String {
    match (operation.name(), operation.number()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(number)) => format!("of unknown type {number}"),
        (None, None) => "without a type".to_owned(),
    }
}
