//! Deltas that we make: small, the same every time, and nodes become the new image by them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::install::update::a_payload_is_installed;
use test_support::fixtures;

/// What the original's generator makes of the same pair has 152,444 bytes.
const MOST: u64 = 130_000;

/// A directory with the fixtures' images.
pub(crate) struct Pair {
    directory: TempDir,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let pair = Self {
            directory: TempDir::new().unwrap(),
        };
        for name in ["old.img", "new.img"] {
            fs::write(pair.path(name), fixtures::image(name)).unwrap();
        }
        pair
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a delta with these further options, and signs it.
    pub(crate) fn delta(&self, name: &str, options: &[&OsStr]) -> PathBuf {
        let out = self.path(name);
        let (old, new, key) = (
            self.path("old.img"),
            self.path("new.img"),
            fixtures::payload("test-key.pem"),
        );
        let arguments: [&OsStr; 11] = [
            "generate".as_ref(),
            "--format".as_ref(),
            "v2".as_ref(),
            "--old-image".as_ref(),
            old.as_ref(),
            "--new-image".as_ref(),
            new.as_ref(),
            "--private-key".as_ref(),
            key.as_ref(),
            "--out".as_ref(),
            out.as_ref(),
        ];
        succeeded(&tool(&[&arguments[..], options].concat()));
        out
    }
}

pub(crate) fn tool(arguments: &[&OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_update_payload"));
    command.args(arguments).output().unwrap()
}

fn succeeded(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Applies a payload to the old image and kernel.
fn apply(pair: &Pair, payload: &Path) -> (Vec<u8>, Vec<u8>) {
    let (source, target, kernel) = (
        pair.path("old.img"),
        pair.path("made.img"),
        pair.path("made-kernel"),
    );
    let (source_kernel, key) = (
        fixtures::payload("vmlinuz-old"),
        fixtures::payload("test-key.pub.pem"),
    );
    let arguments: [&OsStr; 12] = [
        "apply".as_ref(),
        payload.as_ref(),
        "--source".as_ref(),
        source.as_ref(),
        "--target".as_ref(),
        target.as_ref(),
        "--kernel".as_ref(),
        kernel.as_ref(),
        "--source-kernel".as_ref(),
        source_kernel.as_ref(),
        "--public-key".as_ref(),
        key.as_ref(),
    ];
    succeeded(&tool(&arguments));
    (fs::read(target).unwrap(), fs::read(kernel).unwrap())
}

/// Options that add the kernel, as a delta or whole.
fn kernel(old: bool) -> Vec<Box<OsStr>> {
    let mut options: Vec<Box<OsStr>> = vec![
        Box::from(OsStr::new("--new-kernel")),
        fixtures::payload("vmlinuz-new").into_os_string().into(),
    ];
    if old {
        options.push(Box::from(OsStr::new("--old-kernel")));
        options.push(fixtures::payload("vmlinuz-old").into_os_string().into());
    }
    options
}

pub(crate) fn delta_with_kernel(pair: &Pair, name: &str, old_kernel: bool) -> PathBuf {
    let options = kernel(old_kernel);
    let options: Vec<&OsStr> = options.iter().map(AsRef::as_ref).collect();
    pair.delta(name, &options)
}

#[test]
fn the_delta_of_the_fixtures_is_smaller_than_the_originals_and_makes_the_new_image() {
    let pair = Pair::new();
    let payload = pair.delta("delta", &[]);
    let size = fs::metadata(&payload).unwrap().len();
    assert!(size <= MOST, "{size} bytes");
    let again = pair.delta("again", &[]);
    assert!(
        fs::read(&payload).unwrap() == fs::read(again).unwrap(),
        "the same every time"
    );

    for old_kernel in [true, false] {
        let payload = delta_with_kernel(&pair, "with-kernel", old_kernel);
        let (image, kernel) = apply(&pair, &payload);
        assert!(image == fixtures::image("new.img"));
        assert!(kernel == fs::read(fixtures::payload("vmlinuz-new")).unwrap());
    }
}

#[test]
fn a_delta_is_of_version_2() {
    let pair = Pair::new();
    let (old, out) = (pair.path("old.img"), pair.path("out"));
    let refused = tool(&[
        "generate".as_ref(),
        "--old-image".as_ref(),
        old.as_ref(),
        "--new-image".as_ref(),
        old.as_ref(),
        "--out".as_ref(),
        out.as_ref(),
    ]);
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("deltas are made in format v2 alone"), "{said}");
    assert!(!out.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_installs_a_delta_of_ours_with_the_kernels() {
    let pair = Pair::new();
    let payload = delta_with_kernel(&pair, "delta", true);
    a_payload_is_installed(&payload, "vmlinuz-new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_without_an_old_kernel_brings_the_new_one_whole() {
    let pair = Pair::new();
    let payload = delta_with_kernel(&pair, "delta", false);
    a_payload_is_installed(&payload, "vmlinuz-new").await;
}

#[test]
fn the_map_of_a_delta_shows_each_kind_of_operation_in_its_colour() {
    let pair = Pair::new();
    let (payload, map) = (pair.delta("delta <1>", &[]), pair.path("map.svg"));
    succeeded(&tool(&[
        "inspect".as_ref(),
        "--map".as_ref(),
        map.as_ref(),
        payload.as_ref(),
    ]));
    let svg = fs::read_to_string(map).unwrap();
    assert!(svg.contains("delta &lt;1>: "), "names are escaped");
    for shown in [
        "old partition",
        "new partition, 16.0 MiB",
        "download",
        ">SOURCE_COPY<",
        ">ZERO<",
    ] {
        assert!(svg.contains(shown), "{shown}");
    }
    // Bands from the old image, and from the download.
    assert!(svg.matches("<path ").count() > 20);
    // Each strip is filled once by what is drawn on it: no column is painted twice.
    let mut painted: Vec<(u64, u64, u64)> = svg.lines().filter_map(rectangle).collect();
    painted.sort_unstable();
    for pair in painted.windows(2) {
        let ((top, _, right), (next_top, next_left, _)) = (pair[0], pair[1]);
        assert!(top != next_top || right <= next_left, "{pair:?}");
    }
    assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("NaN"));
}

/// Top, left and right of a coloured rectangle.
fn rectangle(line: &str) -> Option<(u64, u64, u64)> {
    let rest = line.strip_prefix("<rect ")?;
    let number = |name: &str| -> Option<u64> {
        let value = rest.split(&format!("{name}=\"")).nth(1)?;
        value.split('"').next()?.parse().ok()
    };
    let is_background = rest.contains("#f4f4f4") || rest.contains("stroke") || rest.contains("#fff\"");
    (!is_background).then_some(())?;
    let (x, y, width) = (
        number(" x").or_else(|| number("x"))?,
        number("y")?,
        number("width")?,
    );
    Some((y, x, x + width))
}
