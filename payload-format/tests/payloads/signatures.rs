//! Who is trusted.

use payload_format::{Finished, PublicKeys, SignatureError};

use crate::fixture;

fn finished(payload: &str) -> Finished {
    fixture::read(&fixture::bytes(payload), 1 << 16, fixture::reader(), |_| {}).unwrap()
}

fn keys(names: &[&str]) -> PublicKeys {
    PublicKeys::from_pems(names.iter().map(|name| fixture::text(name))).unwrap()
}

#[test]
fn payloads_of_the_trusted_key_are_accepted() {
    for payload in ["full.payload", "delta.payload"] {
        finished(payload).verify(&keys(&["test-key.pub.pem"])).unwrap();
    }
}

#[test]
fn any_of_several_trusted_keys_will_do() {
    finished("full.payload")
        .verify(&keys(&["other-key.pub.pem", "test-key.pub.pem"]))
        .unwrap();
}

#[test]
fn a_wrong_key_is_refused() {
    for payload in ["full.payload", "delta.payload"] {
        let error = finished(payload)
            .verify(&keys(&["other-key.pub.pem"]))
            .unwrap_err();
        assert!(matches!(error, SignatureError::Mismatch { keys: 1 }), "{error}");
    }
}

#[test]
fn an_unsigned_payload_is_refused() {
    let error = finished("full-unsigned.payload")
        .verify(&keys(&["test-key.pub.pem"]))
        .unwrap_err();
    assert!(matches!(error, SignatureError::Unsigned), "{error}");
}

#[test]
fn no_key_is_no_trust() {
    let error = PublicKeys::from_pems(Vec::<String>::new()).unwrap_err();
    assert!(matches!(error, SignatureError::NoKeys), "{error}");
}

#[test]
fn a_private_key_or_nonsense_is_no_public_key() {
    for bad in [fixture::text("test-key.pem"), "nonsense".to_owned()] {
        let error = PublicKeys::from_pems([fixture::text("test-key.pub.pem"), bad]).unwrap_err();
        assert!(matches!(error, SignatureError::Key { index: 1, .. }), "{error}");
    }
}

#[test]
fn a_key_of_1024_bits_is_refused() {
    let weak = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC/ERSyYwMn1anLkqB7n7c/xRxe
O7+0bF7wc1O+0alsBQqxx5Z+b5XBMO54v2vf0e7VfEpERAxI/g5UFsdKUaN0eDZA
AzRJD5mEJst5v0SMnGwJLyQS4OuT9CQa6LvObfo+uIazqJTImHCZSp7ppSWkunlM
mZ6rnwx49V63lAbp5QIDAQAB
-----END PUBLIC KEY-----
";
    let error = PublicKeys::from_pems([weak]).unwrap_err();
    assert!(
        matches!(error, SignatureError::WeakKey { index: 0, bits: 1024 }),
        "{error}"
    );
}

#[test]
fn a_key_of_8192_bits_is_as_good_as_any() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/keys/rsa-8192");
    let pem = std::fs::read_to_string(format!("{fixtures}.pub.pem")).unwrap();
    let signature = std::fs::read(format!("{fixtures}.signature")).unwrap();
    let keys = PublicKeys::from_pems([pem]).unwrap();
    keys.verify_digest(&payload_format::Sha256Digest::of(b"update"), &signature)
        .unwrap();
    let other = payload_format::Sha256Digest::of(b"something else");
    keys.verify_digest(&other, &signature).unwrap_err();
}

#[test]
fn a_signature_of_something_else_is_refused() {
    let mut other = finished("full.payload");
    other.signed_sha256 = payload_format::Sha256Digest::of(b"something else");
    let error = other.verify(&keys(&["test-key.pub.pem"])).unwrap_err();
    assert!(matches!(error, SignatureError::Mismatch { keys: 1 }), "{error}");
}

#[test]
fn a_blob_that_is_no_list_of_signatures_is_refused() {
    let mut broken = finished("full.payload");
    broken.signatures = vec![0xff; 264];
    let error = broken.verify(&keys(&["test-key.pub.pem"])).unwrap_err();
    assert!(matches!(error, SignatureError::Malformed(_)), "{error}");
}
