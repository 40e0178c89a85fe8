//! Records of other versions. Both slots' daemons read the same state directory: what one leaves
//! there, the version before and the version after must understand.
//!
//! `tests/fixtures/records/VERSION/MOMENT` holds what that version's daemon left at that moment of
//! an update's life, byte by byte, below the paths where it left them, and what its client printed.
//! They were made by
//! [`a_real_run_leaves_what_other_versions_read`] with `RECORDS=DIRECTORY`, and are never changed: a new version gets a
//! directory of its own.

pub(crate) mod gate;
mod moments;
mod newer;
mod older;
mod shape;
mod staged;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use moments::Moment;

/// The versions whose records are kept.
const VERSIONS: [&str; 1] = ["0.1.0"];

const HISTORY: &str = "/var/lib/update_engine/history";
const ATTEMPTS: &str = "/var/lib/update_engine/attempts";
const MANIFEST: &str = "/var/lib/update_engine/install/manifest";
const CHECKPOINT: &str = "/var/lib/update_engine/install/checkpoint";
const TORN: &str = "/var/lib/update_engine/install/torn";
const MARK: &str = "/var/lib/update_engine/extensions/2.0.0/.update-engine";
const METRICS: &str = "/var/lib/node-exporter/update-engine.prom";
/// What is before and after the contents of a record.
const HEADER: usize = 20;
const CHECKSUM: usize = 32;

fn fixtures(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/records")
        .join(version)
}

/// A file that `version` left.
fn kept(version: &str, moment: &str, path: &str) -> Vec<u8> {
    let path = fixtures(version).join(moment).join(path.trim_start_matches('/'));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The contents of a record.
pub(crate) fn contents(record: &[u8]) -> &[u8] {
    assert!(
        record.starts_with(b"UpdEngSt\0\0\0\x01"),
        "another form of records"
    );
    &record[HEADER..record.len() - CHECKSUM]
}

pub(crate) fn record_of_version(version: u32, contents: &[u8]) -> Vec<u8> {
    let mut record = b"UpdEngSt".to_vec();
    record.extend(version.to_be_bytes());
    record.extend((contents.len() as u64).to_be_bytes());
    record.extend(contents);
    record.extend(ring::digest::digest(&ring::digest::SHA256, &record).as_ref());
    record
}

/// All that is below `directory`, by its path from there.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(at) = directories.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap();
                found.insert(format!("/{}", name.display()), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Today's daemon goes through an update's life. Whatever it leaves has everything that earlier
/// versions left, in the same form: they may read it, in the other slot.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_run_leaves_what_other_versions_read() {
    let today = moments::all().await;
    if let Some(directory) = std::env::var_os("RECORDS") {
        for moment in &today {
            moment.write(Path::new(&directory));
        }
        let ids = older::MESSAGE_IDS.map(|(name, id)| format!("{name} {}\n", id.id()));
        fs::write(Path::new(&directory).join("message-ids"), ids.concat()).unwrap();
    }
    for version in VERSIONS {
        let kept = fs::read_dir(fixtures(version)).unwrap();
        let directories = kept.map(|entry| entry.unwrap().path());
        for directory in directories.filter(|path| path.is_dir()) {
            let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
            let Some(moment) = today.iter().find(|moment| moment.name == name) else {
                panic!("nothing is known of moment {name}");
            };
            is_like(version, moment, &files(&directory));
        }
    }
}

/// `moment` has all files of `kept`, in their form.
fn is_like(version: &str, moment: &Moment, kept: &BTreeMap<String, Vec<u8>>) {
    for (path, old) in kept {
        let place = format!("{version}, {} {path}", moment.name);
        let new = moment
            .files
            .get(path)
            .unwrap_or_else(|| panic!("{place}: not left any more"));
        match path.as_str() {
            HISTORY | ATTEMPTS => shape::json(&place, contents(old), contents(new)),
            MANIFEST | TORN | MARK => assert!(old == new, "{place} differs"),
            CHECKPOINT => shape::checkpoint(&place, contents(old), contents(new)),
            METRICS => shape::metrics(&place, old, new),
            path if Path::new(path).extension().is_some_and(|end| end == "json") => {
                shape::json(&place, old, new);
            }
            _ => shape::text(&place, old, new),
        }
    }
}
