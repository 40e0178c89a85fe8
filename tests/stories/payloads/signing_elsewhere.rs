//! `update_payload hash` and `attach`, with `openssl` as the device that holds the keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::loops::run;
use test_support::fixtures;

struct Site {
    directory: TempDir,
}

struct Key {
    private: PathBuf,
    public: PathBuf,
    bits: usize,
}

impl Site {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let image: Vec<u8> = (0..3_000_001_u32).map(|i| (i / 1000).to_be_bytes()[3]).collect();
        fs::write(directory.path().join("usr.img"), image).unwrap();
        fs::write(directory.path().join("vmlinuz"), vec![3; 70_000]).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn key(&self, bits: usize) -> Key {
        let key = Key {
            private: self.path(&format!("{bits}.pem")),
            public: self.path(&format!("{bits}.pub.pem")),
            bits,
        };
        let (private, public) = (key.private.to_str().unwrap(), key.public.to_str().unwrap());
        let size = format!("rsa_keygen_bits:{bits}");
        run(
            "openssl",
            &["genpkey", "-algorithm", "RSA", "-pkeyopt", &size, "-out", private],
        );
        run("openssl", &["pkey", "-in", private, "-pubout", "-out", public]);
        key
    }

    fn generate(&self, format: &str, name: &str, keys: &[Key]) -> PathBuf {
        let (image, kernel, out) = (self.path("usr.img"), self.path("vmlinuz"), self.path(name));
        let mut command = tool("generate");
        command.args(["--format", format, "--new-image"]).arg(image);
        command.arg("--new-kernel").arg(kernel).arg("--out").arg(&out);
        for key in keys {
            command.arg("--private-key").arg(&key.private);
        }
        good(&mut command);
        out
    }

    /// What the device makes of a digest.
    fn sign(&self, key: &Key, digest: &Path) -> PathBuf {
        let signature = self.path(&format!("{}.{}", digest.display(), key.bits));
        let padding = ["-pkeyopt", "digest:sha256", "-pkeyopt", "rsa_padding_mode:pkcs1"];
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", "-sign"]).args(padding);
        openssl.arg("-inkey").arg(&key.private).arg("-in").arg(digest);
        good(openssl.arg("-out").arg(&signature));
        signature
    }

    /// Hash, sign each, attach.
    fn sign_elsewhere(&self, unsigned: &Path, keys: &[Key], metadata: bool) -> (PathBuf, Output) {
        let (payload_hash, metadata_hash) = (self.path("payload.hash"), self.path("metadata.hash"));
        let mut hash = tool("hash");
        hash.arg(unsigned).arg("--out").arg(&payload_hash);
        hash.arg("--metadata-out").arg(&metadata_hash);
        let mut attach = tool("attach");
        let out = self.path("attached.payload");
        attach.arg(unsigned).arg("--out").arg(&out);
        for key in keys {
            hash.arg("--signature-size").arg((key.bits / 8).to_string());
        }
        good(&mut hash);
        for key in keys {
            attach.arg("--signature").arg(self.sign(key, &payload_hash));
            if metadata {
                attach
                    .arg("--metadata-signature")
                    .arg(self.sign(key, &metadata_hash));
            }
        }
        for key in keys {
            attach.arg("--public-key").arg(&key.public);
        }
        (out, attach.output().unwrap())
    }
}

fn tool(command: &str) -> Command {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_update_payload"));
    tool.arg(command);
    tool
}

fn good(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn refusal(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_payload_signed_elsewhere_has_the_bytes_of_one_signed_here() {
    let site = Site::new();
    let keys = [site.key(2048), site.key(3072)];
    for format in ["v1", "v2"] {
        let unsigned = site.generate(format, "unsigned.payload", &[]);
        for keys in [&keys[..1], &keys[..]] {
            let here = site.generate(format, "here.payload", keys);
            let (elsewhere, output) = site.sign_elsewhere(&unsigned, keys, format == "v2");
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(
                fs::read(&elsewhere).unwrap() == fs::read(&here).unwrap(),
                "{format}"
            );
            let client = &keys[keys.len() - 1].public;
            good(tool("verify").arg(&elsewhere).arg("--public-key").arg(client));
        }
    }
}

#[test]
fn a_payload_of_the_original_s_generator_can_be_signed_elsewhere() {
    let site = Site::new();
    let key = [site.key(4096)];
    let unsigned = fixtures::payload("full-unsigned.payload");
    let (signed, output) = site.sign_elsewhere(&unsigned, &key, false);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    good(
        tool("verify")
            .arg(&signed)
            .arg("--public-key")
            .arg(&key[0].public),
    );
}

#[test]
fn what_no_node_would_trust_is_not_attached() {
    let site = Site::new();
    let (keys, other) = ([site.key(2048)], site.key(3072));
    let unsigned = site.generate("v2", "unsigned.payload", &[]);
    let (out, output) = site.sign_elsewhere(&unsigned, &keys, false);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("key 1 did not sign the payload: the signer failed: no signature of SHA-256"),
        "{said}"
    );
    // The digest was made for signatures of another length: it is of another manifest.
    let hash = site.path("wrong.hash");
    good(
        tool("hash")
            .arg(&unsigned)
            .args(["--signature-size", "512", "--out"])
            .arg(&hash),
    );
    let signature = site.sign(&keys[0], &hash);
    let mut attach = tool("attach");
    attach
        .arg(&unsigned)
        .arg("--signature")
        .arg(&signature)
        .arg("--out")
        .arg(&out);
    for key in [&keys[0].public, &other.public] {
        attach.arg("--public-key").arg(key);
    }
    let said = refusal(&mut attach);
    assert!(said.contains("by a trusted key is among those given"), "{said}");
    assert!(!out.exists(), "nothing is left of it");
}

#[test]
fn only_a_complete_unsigned_payload_has_something_to_sign() {
    let site = Site::new();
    let length = ["--signature-size", "256"];
    let said = refusal(tool("hash").arg(fixtures::payload("full.payload")).args(length));
    assert!(
        said.ends_with("the payload is signed already; make it without a key\n"),
        "{said}"
    );
    let cut = site.path("cut.payload");
    let bytes = fs::read(fixtures::payload("full-unsigned.payload")).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    let said = refusal(tool("hash").arg(&cut).args(length));
    assert!(said.contains("cut.payload is refused"), "{said}");
    let unsigned = fixtures::payload("full-unsigned.payload");
    let said = refusal(tool("hash").arg(unsigned).args(["--signature-size", "128"]));
    assert!(
        said.contains("a signature of 128 bytes is none by an RSA key of 2048 to 16384 bits"),
        "{said}"
    );
}
