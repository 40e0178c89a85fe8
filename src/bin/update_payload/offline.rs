//! `hash` and `attach`: signatures by keys that are kept on another machine.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use payload_format::MajorVersion;
use update_engine::payload::{self, PayloadFile, Signature, Trust};

use super::Failure;
use super::arguments::{Attach, Hash};

/// Longest signature file, in bytes: a signature by the longest trusted key takes 2 KiB.
const MAX_SIGNATURE: u64 = 4096;

pub(crate) fn hash(arguments: &Hash) -> Result<(), Failure> {
    let digests = payload::digests(&PayloadFile::open(&arguments.file)?, &arguments.sizes)?;
    let (of_payload, of_metadata) = (digests.signed_sha256, digests.metadata_sha256);
    for (path, digest) in [
        (&arguments.out, of_payload),
        (&arguments.metadata_out, of_metadata),
    ] {
        if let Some(path) = path {
            fs::write(path, digest.as_bytes())
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
    }
    println!("payload: {of_payload}");
    println!("metadata: {of_metadata}");
    println!("metadata size: {}", digests.metadata_size);
    Ok(())
}

pub(crate) fn attach(arguments: &Attach) -> Result<(), Failure> {
    let signatures = signatures(arguments)?;
    let keys = Trust::in_keys(&arguments.public_keys)?;
    let unsigned = PayloadFile::open(&arguments.file)?;
    let signed = payload::attach(&unsigned, &signatures, &keys, &arguments.out)?;
    if signed.version == MajorVersion::V1 && !arguments.metadata_signatures.is_empty() {
        println!("version 1 has no place for the metadata's signatures: put them into the offer");
    }
    println!(
        "{}: {} bytes, SHA-256 {}, {} signature(s)",
        arguments.out.display(),
        signed.payload_size,
        signed.payload_sha256,
        signatures.len()
    );
    Ok(())
}

fn signatures(arguments: &Attach) -> Result<Vec<Signature>, Failure> {
    let of_payload = read_all(&arguments.signatures)?;
    let of_metadata = read_all(&arguments.metadata_signatures)?;
    if !of_metadata.is_empty() && of_metadata.len() != of_payload.len() {
        let (payload, metadata) = (of_payload.len(), of_metadata.len());
        return Err(format!(
            "{payload} --signature and {metadata} --metadata-signature: name both of each key"
        )
        .into());
    }
    let of_metadata = of_metadata.into_iter().map(Some).chain(std::iter::repeat(None));
    Ok(of_payload
        .into_iter()
        .zip(of_metadata)
        .map(|(payload, metadata)| Signature { payload, metadata })
        .collect())
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, Failure> {
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SIGNATURE).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(bytes)
}
