//! `update_payload` at the command line, on payloads that the original's generator made.

mod apply;
mod content;
mod inspect;
mod verify;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::node::sha256;
use test_support::fixtures::{self, payload};

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

/// Unpacks `payload` to `target`, with these further arguments.
fn apply_to(payload: &Path, target: &Path, further: &[&dyn AsRef<Path>]) -> Said {
    let mut arguments: Vec<&dyn AsRef<Path>> = vec![&"apply", &payload, &"--target", &target];
    arguments.extend(further);
    tool(&arguments)
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

    /// Unpacks to the target, with these further arguments.
    fn apply(&self, payload: &Path, further: &[&dyn AsRef<Path>]) -> Said {
        apply_to(payload, &self.target, further)
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

/// A child that doesn't outlive the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An image whose release can't be read is no fault, but its maker should know what nodes can't do.
#[test]
fn generate_says_where_it_found_no_release() {
    let bench = Bench::new();
    let (image, out, key) = (bench.path("image"), bench.path("out"), payload("test-key.pem"));
    // As little as btrfs is to this generator.
    fs::write(&image, vec![7; 1 << 20]).unwrap();
    let made = |further: &[&dyn AsRef<Path>]| {
        let mut arguments: Vec<&dyn AsRef<Path>> = vec![
            &"generate",
            &"--new-image",
            &image,
            &"--private-key",
            &key,
            &"--out",
            &out,
        ];
        arguments.extend(further);
        let said = tool(&arguments);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        said.stdout.contains("no lib/os-release was found in the image")
            && said.stdout.contains("--os-release")
    };
    assert!(made(&[&"--format", &"v2"]));
    let os_release = bench.path("os-release");
    fs::write(&os_release, "ID=flatcar\n").unwrap();
    assert!(!made(&[&"--format", &"v2", &"--os-release", &os_release]));
    // Version 1 has no place for it.
    assert!(!made(&[]));
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
    let check = include_str!("../../fixtures/omaha/request-check.xml");
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
