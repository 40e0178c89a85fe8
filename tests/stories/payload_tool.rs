//! `update_payload` at the command line, on payloads that the original's generator made.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::fixtures::{self, payload};
use crate::support::loops::{Loop, may_mount};
use crate::support::node::sha256;

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn refused(&self, why: &str) {
        assert!(
            self.code == Some(1) && self.stderr.contains(why),
            "{:?}: {}",
            self.code,
            self.stderr
        );
    }
}

fn tool(arguments: &[&dyn AsRef<Path>]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_update_payload"));
    let output = command
        .args(arguments.iter().copied().map(AsRef::as_ref))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The sum of a file in the fixtures' SHA256SUMS.
fn expected_sum(name: &str) -> String {
    let sums = fs::read_to_string(payload("SHA256SUMS")).unwrap();
    let line = sums.lines().find(|line| line.ends_with(name)).unwrap();
    line[..64].to_owned()
}

fn sum(path: &Path) -> String {
    sha256(&fs::read(path).unwrap())
}

/// A directory with the old image in it.
struct Bench {
    directory: TempDir,
    old: PathBuf,
    target: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let (old, target) = (
            directory.path().join("old.img"),
            directory.path().join("target.img"),
        );
        fs::write(&old, fixtures::image("old.img")).unwrap();
        Self {
            directory,
            old,
            target,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A copy of a fixture, changed.
    fn changed(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let mut bytes = fs::read(payload(name)).unwrap();
        change(&mut bytes);
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn is_as_before(&self) {
        assert!(!self.target.exists(), "nothing was written");
        assert_eq!(sum(&self.old), expected_sum("old.img"));
        let entries: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert!(
            entries
                .iter()
                .all(|name| !name.to_string_lossy().starts_with('.')),
            "{entries:?}"
        );
    }
}

#[test]
fn verify_accepts_what_a_trusted_key_signed() {
    for name in ["full.payload", "delta.payload"] {
        let said = tool(&[
            &"verify",
            &payload(name),
            &"--public-key",
            &payload("test-key.pub.pem"),
        ]);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert!(said.stdout.contains(&format!(
            "good; {} bytes",
            fs::metadata(payload(name)).unwrap().len()
        )));
        assert!(said.stdout.trim_end().ends_with(&sum(&payload(name))));
        assert_eq!(said.stderr, "", "no progress where there is no terminal");
    }
    let (one, other) = (payload("other-key.pub.pem"), payload("test-key.pub.pem"));
    assert_eq!(
        tool(&[&"verify", &payload("full.payload"), &"--public-key", &one, &other]).code,
        Some(0)
    );
}

#[test]
fn verify_refuses_another_key_no_signature_and_damage() {
    let bench = Bench::new();
    let key = payload("test-key.pub.pem");
    for name in ["full.payload", "delta.payload"] {
        let said = tool(&[
            &"verify",
            &payload(name),
            &"--public-key",
            &payload("other-key.pub.pem"),
        ]);
        said.refused("is not trusted: none of the 1 trusted keys made the signature");
    }
    tool(&[
        &"verify",
        &payload("full-unsigned.payload"),
        &"--public-key",
        &key,
    ])
    .refused("full-unsigned.payload is not trusted: the payload is not signed");
    tool(&[
        &"verify",
        &payload("full.payload"),
        &"--public-key",
        &payload("test-key.pem"),
    ])
    .refused("cannot trust");
    let flipped = bench.changed("full.payload", |bytes| bytes[500_000] ^= 1);
    tool(&[&"verify", &flipped, &"--public-key", &key]).refused("data of operation 3 has SHA-256");
    let cut = bench.changed("full.payload", |bytes| bytes.truncate(1_000_000));
    tool(&[&"verify", &cut, &"--public-key", &key]).refused("the payload has 2018477 bytes");
    let other = bench.changed("full.payload", |bytes| bytes[0] = b'Z');
    tool(&[&"verify", &other, &"--public-key", &key]).refused("not an update payload");
    assert_eq!(
        tool(&[&"verify", &payload("full.payload")]).code,
        Some(2),
        "a key must be named"
    );
}

#[test]
fn apply_builds_the_image_and_the_kernel_of_a_full_payload() {
    let bench = Bench::new();
    let kernel = bench.path("vmlinuz");
    let said = tool(&[
        &"apply",
        &payload("full.payload"),
        &"--target",
        &bench.target,
        &"--kernel",
        &kernel,
        &"--public-key",
        &payload("test-key.pub.pem"),
    ]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(sum(&bench.target), expected_sum("new.img"));
    assert_eq!(sum(&kernel), expected_sum("vmlinuz-new"));
}

#[test]
fn apply_builds_a_delta_from_the_old_image_and_leaves_that_alone() {
    let bench = Bench::new();
    let (delta, key) = (payload("delta.payload"), payload("test-key.pub.pem"));
    let said = tool(&[
        &"apply",
        &delta,
        &"--target",
        &bench.target,
        &"--source",
        &bench.old,
        &"--public-key",
        &key,
    ]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(sum(&bench.target), expected_sum("new.img"));
    assert_eq!(sum(&bench.old), expected_sum("old.img"));
    // The old image may be the target: it is replaced when the new one is complete.
    let said = tool(&[
        &"apply",
        &delta,
        &"--target",
        &bench.old,
        &"--source",
        &bench.old,
        &"--public-key",
        &key,
    ]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(sum(&bench.old), expected_sum("new.img"));
}

#[test]
fn apply_writes_a_device_but_never_from_itself() {
    if !may_mount() {
        return;
    }
    let bench = Bench::new();
    let (delta, key) = (payload("delta.payload"), payload("test-key.pub.pem"));
    let slot = bench.path("slot.img");
    fs::write(&slot, vec![0xaa; 20 << 20]).unwrap();
    let device = Loop::writable(&slot);
    let said = tool(&[
        &"apply",
        &delta,
        &"--target",
        &device.device(),
        &"--source",
        &bench.old,
        &"--public-key",
        &key,
    ]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    tool(&[
        &"apply",
        &delta,
        &"--target",
        &device.device(),
        &"--source",
        &device.device(),
        &"--public-key",
        &key,
    ])
    .refused("can't be both source and target");
    drop(device);
    let written = fs::read(&slot).unwrap();
    assert!(written[..16 << 20] == fixtures::image("new.img"));
    assert!(
        written[16 << 20..].iter().all(|byte| *byte == 0xaa),
        "nothing behind the image was touched"
    );
}

#[test]
fn apply_refuses_a_delta_without_its_source_or_with_another() {
    let bench = Bench::new();
    let (delta, key) = (payload("delta.payload"), payload("test-key.pub.pem"));
    tool(&[
        &"apply",
        &delta,
        &"--target",
        &bench.target,
        &"--public-key",
        &key,
    ])
    .refused("the payload's partition is built from an old one: name that, too");
    let other = bench.path("other.img");
    fs::write(&other, vec![0; 16 << 20]).unwrap();
    tool(&[
        &"apply",
        &delta,
        &"--target",
        &bench.target,
        &"--source",
        &other,
        &"--public-key",
        &key,
    ])
    .refused("other.img have SHA-256");
    bench.is_as_before();
}

#[test]
fn apply_writes_nothing_of_a_payload_that_is_not_trusted() {
    let bench = Bench::new();
    let (full, key) = (payload("full.payload"), payload("test-key.pub.pem"));
    tool(&[
        &"apply",
        &full,
        &"--target",
        &bench.target,
        &"--public-key",
        &payload("other-key.pub.pem"),
    ])
    .refused("is not trusted");
    let unsigned = payload("full-unsigned.payload");
    tool(&[
        &"apply",
        &unsigned,
        &"--target",
        &bench.target,
        &"--public-key",
        &key,
    ])
    .refused("is not signed");
    assert_eq!(
        tool(&[&"apply", &unsigned, &"--target", &bench.target]).code,
        Some(2)
    );
    // The last byte of the last operation's data.
    let flipped = bench.changed("full.payload", |bytes| {
        *bytes.iter_mut().nth_back(264).unwrap() ^= 1;
    });
    tool(&[
        &"apply",
        &flipped,
        &"--target",
        &bench.target,
        &"--public-key",
        &key,
    ])
    .refused("operation 16");
    let kernel = bench.path("vmlinuz");
    tool(&[
        &"apply",
        &unsigned,
        &"--target",
        &bench.target,
        &"--kernel",
        &kernel,
        &"--allow-unsigned",
    ])
    .refused("the payload holds no kernel");
    bench.is_as_before();
}

#[test]
fn apply_says_of_an_unsigned_payload_that_its_origin_was_not_checked() {
    let bench = Bench::new();
    let unsigned = payload("full-unsigned.payload");
    let said = tool(&[
        &"apply",
        &unsigned,
        &"--target",
        &bench.target,
        &"--allow-unsigned",
    ]);
    assert!(
        said.stdout.ends_with("the payload's origin was not checked\n"),
        "{}",
        said.stdout
    );
    assert_eq!(sum(&bench.target), expected_sum("new.img"));
}

#[test]
fn inspect_describes_a_payload() {
    let said = tool(&[&"inspect", &payload("delta.payload")]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(
        lines[0].ends_with("delta.payload: delta payload of 152444 bytes, version 1, blocks of 4096"),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines[2],
        format!("partition: 16777216 bytes, SHA-256 {}", expected_sum("new.img"))
    );
    assert_eq!(
        lines[3],
        format!("  from: 16777216 bytes, SHA-256 {}", expected_sum("old.img"))
    );
    assert_eq!(
        lines[4],
        "  by: 31 BSDIFF, 152 MOVE, 2 REPLACE, 10 REPLACE_BZ; 145000 bytes of data"
    );
    assert_eq!(lines[5], "signed: 264 bytes of signatures, not checked here");
}

#[test]
fn inspect_gives_scripts_every_operation() {
    let said = tool(&[&"inspect", &"--json", &payload("full.payload")]);
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(json["payload_size"], 2_018_477);
    assert_eq!(json["metadata_size"], 1102);
    assert_eq!(json["images"][1]["kind"], "kernel");
    assert_eq!(json["images"][1]["new"]["sha256"], expected_sum("vmlinuz-new"));
    let operations = json["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 17);
    assert_eq!(operations[1]["data_offset"], 6609);
    assert_eq!(operations[1]["destination"], serde_json::json!([[256, 256]]));
}

#[test]
fn inspect_tells_a_payload_that_was_cut_off() {
    let bench = Bench::new();
    let cut = bench.changed("full.payload", |bytes| bytes.truncate(1_000_000));
    let said = tool(&[&"inspect", &cut]);
    assert!(
        said.stdout.contains("the file has 1000000 bytes: it is cut off"),
        "{}",
        said.stdout
    );
    let cut = bench.changed("full.payload", |bytes| bytes.truncate(1_000));
    tool(&[&"inspect", &cut]).refused("the payload ends at byte 1000, within its manifest");
}

/// A child that doesn't outlive the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn serve_says_where_it_is_answers_and_ends_cleanly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_update_payload"));
    command.args([
        "serve",
        "--version",
        "2.0.0",
        "--listen",
        "127.0.0.1:0",
        "--payload",
    ]);
    command
        .arg(payload("delta.payload"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut server = Serving(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let (said, url) = line.trim_end().split_once("SERVER=http://").unwrap();
    assert_eq!(said, "serving version 2.0.0; nodes want ");

    let (address, _) = url.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let check = include_str!("../fixtures/omaha/request-check.xml");
    let head = format!("POST /v1/update/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{check}", check.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("<manifest version=\"2.0.0\">"), "{answer}");
    assert!(answer.contains("IsDeltaPayload=\"true\""), "{answer}");

    kill(
        Pid::from_raw(i32::try_from(server.0.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
}
