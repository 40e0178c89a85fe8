//! Content payloads: made of an image that the kernel compressed, checked, and applied to any old
//! image or none.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Bench, Said, apply_to, sum, tool};
use test_support::fixtures::{self, payload};

/// The images of `tests/fixtures/content`, and a content payload of the new one.
struct Site {
    bench: Bench,
    old: PathBuf,
    new: PathBuf,
    payload: PathBuf,
}

impl Site {
    fn new() -> Self {
        let bench = Bench::new();
        let unpacked = |name: &str| {
            let path = bench.path(name);
            fs::write(&path, fixtures::image(&format!("../content/{name}"))).unwrap();
            path
        };
        let (old, new) = (unpacked("btrfs-old.img"), unpacked("btrfs-new.img"));
        let payload = bench.path("content.payload");
        let site = Self {
            bench,
            old,
            new,
            payload,
        };
        let said = site.generate(&[&"--private-key", &fixtures::payload("test-key.pem")]);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        site
    }

    fn generate(&self, further: &[&dyn AsRef<Path>]) -> Said {
        let kernel = self.bench.path("kernel");
        fs::write(&kernel, vec![7; 70_000]).unwrap();
        let mut arguments: Vec<&dyn AsRef<Path>> = vec![&"generate", &"--content", &"--new-image", &self.new];
        arguments.extend([
            &"--new-kernel" as &dyn AsRef<Path>,
            &kernel,
            &"--out",
            &self.payload,
        ]);
        if !further
            .iter()
            .any(|argument| argument.as_ref() == Path::new("--format"))
        {
            arguments.extend([&"--format" as &dyn AsRef<Path>, &"v2"]);
        }
        arguments.extend(further);
        tool(&arguments)
    }

    fn apply(&self, further: &[&dyn AsRef<Path>]) -> Said {
        let key = payload("test-key.pub.pem");
        let mut arguments: Vec<&dyn AsRef<Path>> = vec![&"--public-key", &key];
        arguments.extend(further);
        apply_to(&self.payload, &self.bench.target, &arguments)
    }

    fn is_built(&self, said: &Said) {
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert_eq!(sum(&self.bench.target), sum(&self.new));
        fs::remove_file(&self.bench.target).unwrap();
    }
}

/// The number before these words.
fn number_before(text: &str, words: &str) -> u64 {
    let before = text.split(words).next().unwrap();
    before
        .rsplit(char::is_whitespace)
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn the_image_comes_of_every_old_image_and_of_none() {
    let site = Site::new();
    let kernel = site.bench.path("new-kernel");
    let whole = site.apply(&[&"--kernel", &kernel]);
    site.is_built(&whole);
    assert_eq!(fs::read(&kernel).unwrap(), vec![7; 70_000]);
    let from_old = site.apply(&[&"--source", &site.old]);
    site.is_built(&from_old);
    // Another image altogether, the new one itself, and no image at all.
    site.is_built(&site.apply(&[&"--source", &site.bench.old]));
    let from_itself = site.apply(&[&"--source", &site.new]);
    site.is_built(&from_itself);
    site.is_built(&site.apply(&[&"--source", &site.payload]));
    let fetched = |said: &Said| number_before(&said.stdout, " bytes of the payload");
    assert!(fetched(&from_old) * 4 < fetched(&whole), "{}", from_old.stdout);
    assert_eq!(fetched(&from_itself), 0, "{}", from_itself.stdout);
}

#[test]
fn it_is_described_and_verified() {
    let site = Site::new();
    let said = tool(&[&"inspect", &site.payload]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for part in [
        "version 2.50001",
        "chunks of content",
        "by btrfs-zstd-1.5.7 level 3",
        "taken only by nodes with CONTENT_PAYLOADS=on",
    ] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
    assert!(!said.stdout.contains("refuses"), "{}", said.stdout);
    assert!(!said.stdout.contains("cut off"), "{}", said.stdout);
    let key = payload("test-key.pub.pem");
    let said = tool(&[&"verify", &"--public-key", &key, &site.payload]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn a_changed_one_is_refused_and_nothing_is_written() {
    let site = Site::new();
    let whole = fs::read(&site.payload).unwrap();
    for at in [30, whole.len() / 2, whole.len() - 100] {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        fs::write(&site.payload, changed).unwrap();
        let said = site.apply(&[&"--source", &site.old]);
        assert_eq!(said.code, Some(1), "byte {at}");
        assert!(!site.bench.target.exists(), "byte {at}");
    }
}

/// What a server sends is trusted by nobody: without a signature, too, a chunk that isn't what the
/// manifest says ends it.
#[test]
fn a_chunk_that_is_not_what_the_manifest_says_is_named() {
    let site = Site::new();
    site.generate(&[]);
    let mut bytes = fs::read(&site.payload).unwrap();
    let at = bytes.len() - 1000;
    bytes[at] ^= 4;
    fs::write(&site.payload, bytes).unwrap();
    apply_to(&site.payload, &site.bench.target, &[&"--allow-unsigned"]).refused("chunk ");
    assert!(!site.bench.target.exists());
}

#[test]
fn signatures_are_made_elsewhere() {
    let site = Site::new();
    let signed = fs::read(&site.payload).unwrap();
    let said = site.generate(&[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let path = |name: &str| site.bench.path(name);
    let (digest, of_metadata) = (path("payload.hash"), path("metadata.hash"));
    let said = tool(&[
        &"hash",
        &site.payload,
        &"--signature-size",
        &"256",
        &"--out",
        &digest,
        &"--metadata-out",
        &of_metadata,
    ]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let sign = |digest: &Path, to: &Path| {
        let key = payload("test-key.pem");
        let options = ["digest:sha256", "rsa_padding_mode:pkcs1"]
            .map(|option| ["-pkeyopt", option])
            .concat();
        let paths = [
            "-inkey",
            key.to_str().unwrap(),
            "-in",
            digest.to_str().unwrap(),
            "-out",
            to.to_str().unwrap(),
        ];
        crate::support::loops::run(
            "openssl",
            &[&["pkeyutl", "-sign"], &options[..], &paths[..]].concat(),
        );
    };
    sign(&digest, &path("payload.sig"));
    sign(&of_metadata, &path("metadata.sig"));
    let (key, out) = (payload("test-key.pub.pem"), path("signed.payload"));
    let said = tool(&[
        &"attach",
        &site.payload,
        &"--signature",
        &path("payload.sig"),
        &"--metadata-signature",
        &path("metadata.sig"),
        &"--public-key",
        &key,
        &"--out",
        &out,
    ]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(fs::read(out).unwrap() == signed, "as if the key had been there");
}

#[test]
fn it_is_made_in_version_2_of_one_image() {
    let site = Site::new();
    site.generate(&[&"--format", &"v1"])
        .refused("content payloads are made by --format v2");
}

/// Each line of the map's counts: chunks, and the name.
fn counts(map: &str) -> Vec<(u64, &str)> {
    let lines = map.lines().filter(|line| line.starts_with("    "));
    lines
        .filter_map(|line| {
            let name = line.split("  ").last()?.trim();
            Some((line.split_whitespace().next()?.parse().ok()?, name))
        })
        .collect()
}

#[test]
fn its_map_says_what_comes_from_where() {
    let site = Site::new();
    let map = site.bench.path("map.svg");
    let drawn = |source: &[&dyn AsRef<Path>]| {
        let mut arguments: Vec<&dyn AsRef<Path>> = vec![&"inspect", &"--map", &map];
        arguments.extend(source);
        arguments.push(&site.payload);
        let said = tool(&arguments);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        (said.stdout, fs::read_to_string(&map).unwrap())
    };
    let (text, svg) = drawn(&[]);
    let chunks = match counts(&text)[..] {
        [(chunks, "fetched"), (0, "zeros")] => chunks,
        ref other => panic!("{other:?}: {text}"),
    };
    assert!(
        text.contains('#') && svg.contains(">fetched<") && svg.contains(">chunks<"),
        "{text}"
    );
    let (text, svg) = drawn(&[&"--source", &site.old]);
    match counts(&text)[..] {
        [(old, "old image"), (fetched, "fetched"), (0, "zeros")] => {
            assert!(old + fetched == chunks && fetched * 2 < old, "{text}");
        }
        ref other => panic!("{other:?}: {text}"),
    }
    assert!(svg.contains(">old image<") && svg.contains("<path "));
    let (text, _) = drawn(&[&"--source", &site.new]);
    assert!(!text.contains("#  fetched"), "{text}");

    // Others say by themselves what they take of an old image, or take nothing.
    let full = payload("full.payload");
    tool(&[&"inspect", &"--map", &map, &"--source", &site.old, &full])
        .refused("only the map of a content payload has use for an old image");
}

/// What the map counts is what `apply` takes, of a predecessor and of any other image.
#[test]
fn its_map_counts_old_chunks_and_patches_as_they_are_taken() {
    let site = Site::new();
    let said = site.generate(&[&"--from", &site.old, &"--private-key", &payload("test-key.pem")]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let mut stranger = fs::read(&site.old).unwrap();
    // The file system's checksum.
    stranger[64 << 10] ^= 1;
    let other = site.bench.path("stranger.img");
    fs::write(&other, stranger).unwrap();
    let map = site.bench.path("map.svg");
    for (source, has_patches) in [(&site.old, true), (&other, false), (&site.new, false)] {
        let applied = site.apply(&[&"--source", source]);
        site.is_built(&applied);
        let chunks = number_before(&applied.stdout, " chunks were in the old image");
        let old = number_before(&applied.stdout, &format!(" of {chunks} chunks were"));
        let made = applied.stdout.split("patches of it made ").nth(1).unwrap();
        let patched: u64 = made.split(';').next().unwrap().parse().unwrap();
        assert_eq!(patched > 0, has_patches, "{}", applied.stdout);
        let drawn = tool(&[&"inspect", &"--map", &map, &"--source", source, &site.payload]);
        assert_eq!(drawn.code, Some(0), "{}", drawn.stderr);
        let counted = |name| {
            let counts = counts(&drawn.stdout);
            let found = counts.iter().find(|(_, found)| *found == name);
            found.map_or(0, |(chunks, _)| *chunks)
        };
        assert_eq!(
            (counted("old image"), counted("patch")),
            (old, patched),
            "{}",
            drawn.stdout
        );
        assert_eq!(old + patched + counted("fetched"), chunks, "{}", applied.stdout);
    }
}
