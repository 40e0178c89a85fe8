//! What the daemon lives through while it is recorded, and how the node stands before.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::image::word;
use crate::tree::Files;

/// PARTUUID of slot B.
pub(crate) const B: &str = "04040404-0404-0404-0404-040404040404";
pub(crate) const HISTORY: &str = "/var/lib/update_engine/history";
const PREFS: &str = "/var/lib/update_engine/prefs";
pub(crate) const CHECK: &str = "/etc/update-engine/health.d/50-api";
/// Why slot B was given up, in the story that begins afterwards.
pub(crate) const CAUSE: &str = "unit kubelet.service is failed";
/// What slot B holds before it is filled.
pub(crate) const FALLBACK: &str = "0.8.0";
pub(crate) const MARKER: &str = "/var/run/update_engine_autoupdate_completed";
pub(crate) const REQUEST: &str = "/run/reboot-required";
pub(crate) const CLAIM: &str = "/run/update_engine/reboot-required";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    /// From the check to the wait for the reboot.
    Update,
    /// B runs on trial, and is marked good.
    Kept,
    /// B runs on trial with a try left, isn't healthy by the deadline, and is left.
    GivenUp,
    /// A runs again after B was given up; the server is told.
    RolledBack,
    /// An update waits, and somebody withdraws it.
    Reset,
}

impl Story {
    /// Attribute words of A and B.
    pub(crate) const fn words(self) -> (u64, u64) {
        match self {
            Self::Update => (word(2, 0, 1), word(1, 0, 1)),
            Self::Kept | Self::RolledBack => (word(1, 0, 1), word(2, 0, 0)),
            Self::GivenUp | Self::Reset => (word(1, 0, 1), word(2, 1, 0)),
        }
    }

    pub(crate) const fn running(self) -> &'static str {
        match self {
            Self::Kept | Self::GivenUp => "B",
            Self::Update | Self::RolledBack | Self::Reset => "A",
        }
    }

    /// Whether B is filled in the story; else it holds the new image from the start, and nobody may touch it.
    pub(crate) fn fills_b(self) -> bool {
        self == Self::Update
    }

    /// Files that the daemon finds. Whoever was told the news may forget that there are any, and no resumption
    /// of the original's may survive that the slot is written: both are there to be seen.
    pub(crate) fn files(self, payload: &[u8], configuration: &str) -> Files {
        let mut files = Files::new();
        let mut put = |path: &str, contents: &[u8]| files.insert(path.to_owned(), contents.to_vec());
        put("/etc/flatcar/update.conf", configuration.as_bytes());
        match self {
            Self::Update => {
                put(&pref("previous-version"), b"0.9.0");
                put(&pref("manifest-metadata-size"), b"1000");
                put(&pref("update-state-next-operation"), b"17");
                put(
                    HISTORY,
                    &record(&json!({ "held": { B: { "sha256": null, "version": FALLBACK } } })),
                );
                return files;
            }
            Self::Kept => {}
            Self::GivenUp => {
                put(CHECK, b"not executable: it fails");
            }
            Self::RolledBack => {
                put(&pref("previous-version"), b"1.0.0");
            }
            Self::Reset => {
                put(MARKER, b"");
                put(REQUEST, b"");
                // Its contents name the request that is ours, once that exists.
                put(CLAIM, b"");
            }
        }
        put(HISTORY, &record(&self.history(payload)));
        files
    }

    fn history(self, payload: &[u8]) -> Value {
        let progress = match self {
            Self::RolledBack => json!({ "GivenUp": { "cause": CAUSE, "said": "its last words" } }),
            _ => json!("Committed"),
        };
        let payload = json!({ "sha256": sha256(payload), "version": "2.0.0" });
        json!({
            "trial": { "partuuid": B, "payload": payload, "progress": progress },
            "last_target": B,
            "interrupted": null,
            "blamed": [],
            "unreported": false,
        })
    }
}

/// The path of a preference.
pub(crate) fn pref(name: &str) -> String {
    format!("{PREFS}/{name}")
}

/// A hash as the record has it: a list of numbers.
pub(crate) fn sha256(payload: &[u8]) -> Value {
    json!(digest(&SHA256, payload).as_ref())
}

/// The bytes of a record of version 1.
fn record(contents: &Value) -> Vec<u8> {
    let contents = contents.to_string().into_bytes();
    let mut bytes = b"UpdEngSt\0\0\0\x01".to_vec();
    bytes.extend((contents.len() as u64).to_be_bytes());
    bytes.extend(contents);
    let checksum = digest(&SHA256, &bytes);
    bytes.extend(checksum.as_ref());
    bytes
}
