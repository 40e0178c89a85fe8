//! All operations of a payload, for scripts: found in the manifest's bytes one by one while they
//! are written out, since a manifest can hold a hundred times its own size of them.

use payload_format::{MajorVersion, Outline, OutlinedOperation};
use serde::{Serialize, Serializer};

use super::hexadecimal;

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
    /// Which image it builds.
    image: String,
    /// The original's name of its type.
    kind: String,
    /// Offset of its data from the metadata's end; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_offset: Option<u64>,
    /// Bytes of data; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_length: Option<u64>,
    /// Of its data.
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
