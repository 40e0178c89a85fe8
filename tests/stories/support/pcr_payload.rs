//! The unsigned fixture with a PCR policy beside the image, signed.

use payload_format::Sha256Digest;
use payload_format::writer::{RsaSigner, Signer as _};
use prost::Message;

use super::payload::{Extent, Info, Operation, blob};
use test_support::fixtures;

const BLOCK: usize = 4096;

/// What is appended to the fixture's manifest: a message is extended by writing more fields behind
/// it.
#[derive(Message)]
struct Addition {
    #[prost(uint64, optional, tag = "4")]
    signatures_offset: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    signatures_size: Option<u64>,
    #[prost(message, repeated, tag = "10")]
    procedures: Vec<Procedure>,
}

#[derive(Message)]
struct Procedure {
    /// 1: PCR policy.
    #[prost(uint32, optional, tag = "1")]
    kind: Option<u32>,
    #[prost(message, repeated, tag = "2")]
    operations: Vec<Operation>,
    #[prost(message, optional, tag = "4")]
    new: Option<Info>,
}

/// A payload that brings `policy`; the manifest says that its SHA-256 is `claimed`.
pub fn with_pcr_policy(policy: &[u8], claimed: Sha256Digest) -> Vec<u8> {
    let fixture = std::fs::read(fixtures::payload("full-unsigned.payload")).unwrap();
    let manifest_len = usize::try_from(u64::from_be_bytes(fixture[12..20].try_into().unwrap())).unwrap();
    let (manifest, data) = fixture[20..].split_at(manifest_len);
    let key = std::fs::read_to_string(fixtures::payload("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let addition = Addition {
        signatures_offset: Some((data.len() + policy.len()) as u64),
        signatures_size: Some(blob(vec![0; signer.signature_len()]).len() as u64),
        procedures: vec![procedure(policy, data.len(), claimed)],
    };
    let manifest = [manifest.to_vec(), addition.encode_to_vec()].concat();
    let mut payload = [
        b"CrAU",
        &1_u64.to_be_bytes()[..],
        &(manifest.len() as u64).to_be_bytes(),
    ]
    .concat();
    payload.extend([&manifest, data, policy].concat());
    let signature = signer.sign(&Sha256Digest::of(&payload)).unwrap();
    payload.extend(blob(signature));
    payload
}

fn procedure(policy: &[u8], data_offset: usize, claimed: Sha256Digest) -> Procedure {
    let operation = Operation {
        kind: Some(0),
        data_offset: Some(u32::try_from(data_offset).unwrap()),
        data_length: Some(u32::try_from(policy.len()).unwrap()),
        source: vec![],
        destination: vec![Extent {
            start: Some(0),
            blocks: Some(policy.len().div_ceil(BLOCK) as u64),
        }],
        sha256: Some(Sha256Digest::of(policy).as_bytes().to_vec()),
    };
    Procedure {
        kind: Some(1),
        operations: vec![operation],
        new: Some(Info {
            size: Some(policy.len() as u64),
            hash: Some(claimed.as_bytes().to_vec()),
        }),
    }
}
