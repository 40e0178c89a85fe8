//! Extensions placed beside an update: those of a slot are there, whole, whenever it boots.

use std::path::Path;
use std::sync::OnceLock;

use payload_format::Sha256Digest;
use update_engine::plan::{Extension, ExtensionPlan};

use crate::machine::State;
use crate::tree::Files;
use test_support::fixtures;

const DIRECTORY: &str = "/var/lib/update_engine/extensions";
const MARK: &str = ".update-engine";
const FILE: &str = "oem-test.raw";
/// Its name on the server.
pub(crate) const PACKAGE: &str = "oem-test.gz";

/// The versions of slots A and B before, and of the update.
const RUNNING: &str = "1.0.0";
const FALLBACK: &str = "0.9.0";
const UPDATE: &str = "2.0.0";

fn image() -> Vec<u8> {
    (0..5000_u32)
        .map(|at| at.wrapping_mul(0x9e37_79b9).to_be_bytes()[0])
        .collect()
}

/// What the server has.
pub(crate) fn package() -> &'static [u8] {
    static PACKAGE: OnceLock<Vec<u8>> = OnceLock::new();
    PACKAGE.get_or_init(|| fixtures::signed(&image()))
}

fn path(version: &str, name: &str) -> String {
    format!("{DIRECTORY}/{version}/{name}")
}

/// Those of both slots, and what an attempt at another payload of the update's version has left.
pub(crate) fn before() -> Files {
    let version = |version: &str, slot: &str, contents: &[u8]| {
        [
            (path(version, FILE), contents.to_vec()),
            (path(version, MARK), slot.as_bytes().to_vec()),
        ]
    };
    [
        version(RUNNING, "USR-A", b"the running one's"),
        version(FALLBACK, "USR-B", b"the fallback's"),
        version(UPDATE, "USR-B", b"another one's"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is to be placed, on a node that has any; the package lies beside the payload at `url`.
pub(crate) fn plan(root: &Path, url: &str) -> Option<ExtensionPlan> {
    let has_any = root.join(DIRECTORY.trim_start_matches('/')).exists();
    let (directory, _) = url.rsplit_once('/')?;
    has_any.then(|| ExtensionPlan {
        directory: DIRECTORY.to_owned(),
        version: UPDATE.to_owned(),
        running_version: RUNNING.to_owned(),
        packages: vec![Extension {
            name: "oem-test".to_owned(),
            url: format!("{directory}/{PACKAGE}"),
            fallback_urls: Vec::new(),
            size: package().len() as u64,
            sha256: Sha256Digest::of(package()),
        }],
    })
}

/// Slot A has its own, and so has B if it can be booted: with the update or, otherwise, with what
/// it held before.
pub(crate) fn check(start: &State, state: &State, b: Option<Holds>) -> Result<(), String> {
    let running = path(RUNNING, FILE);
    if !start.files.contains_key(&running) {
        return Ok(());
    }
    for name in [FILE, MARK] {
        let file = path(RUNNING, name);
        if state.files.get(&file) != start.files.get(&file) {
            return Err(format!("{file} has changed"));
        }
    }
    let (file, expected) = match b {
        None => return Ok(()),
        Some(Holds::Update) => (path(UPDATE, FILE), image()),
        Some(Holds::Fallback) => (path(FALLBACK, FILE), before()[&path(FALLBACK, FILE)].clone()),
    };
    let found = state.files.get(&file);
    // The file's image is filled up to whole blocks.
    if found.is_some_and(|found| found.starts_with(&expected)) {
        return Ok(());
    }
    Err(format!("slot B can be booted, and {file} is not what it needs"))
}

/// What is in slot B.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Holds {
    Update,
    Fallback,
}

impl Holds {
    pub(crate) const fn of(is_updated: bool) -> Self {
        if is_updated { Self::Update } else { Self::Fallback }
    }
}
