//! Payloads of version 2 become slots that boot next, if their metadata is trusted.

use std::io::Cursor;

use payload_format::writer::{FullPayload, RsaSigner};
use payload_format::{Compression, MajorVersion, SignatureError};
use update_engine::disk::SlotName;
use update_engine::install::InstallError;

use super::v1::{Fate, fate, fixture, refused};
use crate::support::installing::plan;
use crate::support::node::{Node, sha256};
use test_support::fixtures;
use test_support::server::Server;

/// A payload of version 2 made of the fixtures' image and kernel, by the fixtures' key.
pub(crate) fn version_2() -> Vec<u8> {
    let key = String::from_utf8(fixture("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let (image, kernel) = (fixtures::image("new.img"), fixture("vmlinuz-new"));
    let (mut image, mut kernel, mut out) = (image.as_slice(), kernel.as_slice(), Vec::new());
    FullPayload::new(&mut image)
        .with_kernel(&mut kernel)
        .with_version(MajorVersion::V2)
        .with_compressions(&[Compression::Xz, Compression::Zstd])
        .with_signer(&signer)
        .write(&mut Cursor::new(Vec::new()), &mut out, &mut |_| {})
        .unwrap();
    out
}

#[tokio::test]
async fn a_payload_of_version_2_becomes_the_slot_that_boots_next() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = version_2();
    server.serve("p", payload.clone());
    node.install(plan(server.url("p"), &payload)).await.unwrap();
    assert_eq!(
        sha256(&node.disk.slot(SlotName::B)),
        sha256(&fixtures::image("new.img"))
    );
    assert!(node.read("/boot/flatcar/vmlinuz-b") == fixture("vmlinuz-new"));
    let (a, b) = (
        node.slot_attributes(SlotName::A),
        node.slot_attributes(SlotName::B),
    );
    assert!(b.priority() > a.priority());
}

#[tokio::test]
async fn metadata_of_version_2_that_no_trusted_key_signed_is_refused_before_anything_is_touched() {
    let payload = version_2();
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    server.serve("p", payload.clone());
    let mut by_other = plan(server.url("p"), &payload);
    by_other.public_keys = vec![fixtures::payload("other-key.pub.pem")];
    let error = node.install(by_other).await.unwrap_err();
    assert!(matches!(error, InstallError::MetadataSignature(_)), "{error:?}");
    assert_eq!(fate(&node), Fate::Untouched);

    // The first hash of the manifest: of the new image, or of the first operation's data.
    let mut changed = payload.clone();
    let hash = changed.windows(2).position(|pair| pair == [0x42, 0x20]).unwrap() + 2;
    changed[hash] ^= 1;
    let (error, fate) = refused(&node, changed).await;
    assert!(matches!(error, InstallError::MetadataSignature(_)), "{error:?}");
    assert_eq!(fate, Fate::Untouched);

    let manifest = u64::from_be_bytes(payload[12..20].try_into().unwrap());
    let (metadata, rest) = payload.split_at(24 + usize::try_from(manifest).unwrap());
    let mut unsigned = metadata.to_vec();
    let len = usize::try_from(u32::from_be_bytes(payload[20..24].try_into().unwrap())).unwrap();
    unsigned[20..24].fill(0);
    let (error, fate) = refused(&node, [&unsigned, &rest[len..]].concat()).await;
    assert!(
        matches!(error, InstallError::MetadataSignature(SignatureError::Unsigned)),
        "{error:?}"
    );
    assert_eq!(fate, Fate::Untouched);
}
