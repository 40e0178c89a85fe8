//! What the daemon lives through while it is recorded, and how the node stands before.

use payload_format::Sha256Digest;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::image::word;
use crate::node::KERNEL_B;
use crate::slot_b::Held;
use crate::tree::Files;

/// PARTUUIDs of the slots.
pub(crate) const A: &str = "03030303-0303-0303-0303-030303030303";
pub(crate) const B: &str = "04040404-0404-0404-0404-040404040404";
pub(crate) const HISTORY: &str = "/var/lib/update_engine/history";
const PREFS: &str = "/var/lib/update_engine/prefs";
/// The record of a staged update, and the file that a daemon keeps locked while it holds it.
pub(crate) const STAGED: &str = "/var/lib/update_engine/staged";
pub(crate) const EVIDENCE: &str = "/run/update_engine/staged";
pub(crate) const CHECK: &str = "/etc/update-engine/health.d/50-api";
/// Why slot B was given up, in the story that begins afterwards.
pub(crate) const CAUSE: &str = "unit kubelet.service is failed";
/// What slot B holds before it is filled.
pub(crate) const FALLBACK: &str = "0.8.0";
/// What waits in slot B before another update takes its place.
pub(crate) const WAITING: &str = "1.5.0";
/// From which payload, as far as that matters.
const FILLED_B: &[u8] = b"the update that waits";
/// What runs in slot A.
pub(crate) const RUNNING: &[u8] = b"1.0.0";
/// From which payload.
pub(crate) const FILLED_A: &[u8] = b"the update that runs";
/// Why a payload is blamed that an operator left.
pub(crate) const BY_HAND: &str = "rolled back by the operator";
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
    /// Likewise, and in the partition table too.
    Withdrawn,
    /// An update waits, and another one takes its place.
    Superseded,
    /// Somebody goes back to slot B, which is good.
    WentBack,
    /// From the check to the update that is staged.
    Staged,
    /// A staged update is read back, and activated by order.
    Activated,
    /// A staged update that a daemon holds is activated by an orderly reboot.
    ActivatedByReboot,
    /// A staged update is read back, and somebody withdraws it.
    Unstaged,
}

impl Story {
    /// Attribute words of A and B.
    pub(crate) const fn words(self) -> (u64, u64) {
        match self {
            Self::Update | Self::WentBack | Self::Staged => (word(2, 0, 1), word(1, 0, 1)),
            Self::Activated | Self::ActivatedByReboot | Self::Unstaged => (word(2, 0, 1), word(0, 0, 0)),
            Self::Kept | Self::RolledBack => (word(1, 0, 1), word(2, 0, 0)),
            Self::GivenUp | Self::Reset | Self::Withdrawn | Self::Superseded => {
                (word(1, 0, 1), word(2, 1, 0))
            }
        }
    }

    pub(crate) const fn running(self) -> &'static str {
        match self {
            Self::Kept | Self::GivenUp => "B",
            _ => "A",
        }
    }

    /// Whether B is filled in the story; else it holds the new image from the start, and nobody may
    /// touch it.
    pub(crate) fn fills_b(self) -> bool {
        matches!(self, Self::Update | Self::Superseded | Self::Staged)
    }

    /// What is in the journal once it has happened, where its files alone don't tell.
    pub(crate) const fn says(self) -> &'static str {
        match self {
            Self::Staged => "is read back and held",
            Self::Activated | Self::ActivatedByReboot => "is activated: it boots next",
            Self::Unstaged => "is not staged any more",
            _ => "",
        }
    }

    /// What the configuration says of activation; nothing by default.
    pub(crate) const fn activation(self) -> &'static str {
        match self {
            Self::Staged | Self::Activated | Self::Unstaged => "ACTIVATE=order\n",
            Self::ActivatedByReboot => "ACTIVATE=reboot\n",
            _ => "",
        }
    }

    /// The payload from which slot B is filled before, if it boots next already.
    pub(crate) fn waiting(self) -> Option<&'static [u8]> {
        (self == Self::Superseded).then_some(FILLED_B)
    }

    /// Whether the request for a reboot that there is before is the daemon's own.
    pub(crate) fn begins_with_request(self) -> bool {
        matches!(self, Self::Reset | Self::Withdrawn | Self::Superseded)
    }

    /// Files that the daemon finds. Whoever was told the news may forget that there are any, and no
    /// resumption of the original's may survive that the slot is written: both are there to be
    /// seen.
    pub(crate) fn files(self, payload: &[u8], b: &Held, configuration: &str) -> Files {
        let mut files = Files::new();
        let mut put = |path: &str, contents: &[u8]| files.insert(path.to_owned(), contents.to_vec());
        put("/etc/flatcar/update.conf", configuration.as_bytes());
        match self {
            Self::Update | Self::Staged => {
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
            Self::Activated | Self::ActivatedByReboot | Self::Unstaged => {
                put(&pref("previous-version"), RUNNING);
                put(STAGED, &record(&staged(payload, b)));
            }
            Self::GivenUp => {
                put(CHECK, b"not executable: it fails");
            }
            Self::RolledBack => {
                put(&pref("previous-version"), RUNNING);
            }
            Self::WentBack => {
                put(HISTORY, &record(&ways_back(payload)));
                return files;
            }
            Self::Reset | Self::Withdrawn | Self::Superseded => {
                put(&pref("previous-version"), RUNNING);
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
        let payload = match self.waiting() {
            Some(waiting) => json!({ "sha256": sha256(waiting), "version": WAITING }),
            None => json!({ "sha256": sha256(payload), "version": "2.0.0" }),
        };
        json!({
            "held": { B: payload },
            "filled": [B],
            "trial": { "partuuid": B, "payload": payload, "progress": progress },
            "last_target": B,
            "interrupted": null,
            "blamed": [],
            "unreported": false,
        })
    }
}

/// The record of a staged update.
fn staged(payload: &[u8], b: &Held) -> Value {
    json!({
        "partuuid": B,
        "image": sha256(&b.image),
        "image_bytes": b.image.len(),
        "kernel": KERNEL_B,
        "kernel_sha256": sha256(&b.kernel),
        "kernel_bytes": b.kernel.len(),
        "version": "2.0.0",
        "payload": sha256(payload),
        "has_run_postinst": false,
        "extensions": [],
        "staged": 1,
    })
}

/// What the file says that a daemon keeps locked while it holds what is staged.
pub(crate) fn evidence(b: &Held) -> String {
    let identity = format!(
        "{B} {} {}",
        Sha256Digest::of(&b.image),
        Sha256Digest::of(&b.kernel)
    );
    Sha256Digest::of(identity.as_bytes()).to_string()
}

/// Both slots were good once. What B holds was to be left, for some reason.
fn ways_back(payload: &[u8]) -> Value {
    let held = |payload: &[u8], version: &str| json!({ "sha256": sha256(payload), "version": version });
    let blame = json!({ "sha256": sha256(payload), "version": "2.0.0", "noticed": 1, "cause": CAUSE });
    json!({
        "held": { A: held(FILLED_A, "1.0.0"), B: held(payload, "2.0.0") },
        "filled": [B, A],
        "last_target": A,
        "blamed": [blame],
    })
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
