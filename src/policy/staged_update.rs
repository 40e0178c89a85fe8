//! A staged update: installed and verified, in a slot that doesn't boot until it is activated. Its
//! record, and the decisions over it.
//!
//! ```text
//!  installed ─▶ Staged ── read back, held ─▶ may be activated ── order | orderly reboot ─▶ the table ─▶ Activated ─▶ Runs
//!                 ▲  └─ a restart: to be read back anew ─┘
//!                 └─ anything else that the table says of its slot: Tried or Void, and forgotten
//! ```
//!
//! The record says what was verified; the partition table says whether it boots. Where the two
//! disagree the table is right: a record alone never makes anything bootable, so that one that is
//! lost or unreadable leaves the old version.

use std::collections::BTreeMap;

use payload_format::Sha256Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slots::SlotAttributes;

use crate::config::Activation;
use crate::plan::PartitionImage;
use crate::status::UnixTime;
use crate::store::tolerant;

/// The record of a staged update, bound to its slot and its image. Its JSON form is meant for a
/// record: what an older version did not write yet has its default, what only a newer one knows is
/// kept. Without slot, image or kernel it is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedUpdate {
    /// PARTUUID of the slot.
    pub partuuid: String,
    /// SHA-256 of the slot's first `image_bytes` bytes.
    pub image: Sha256Digest,
    /// Size of the image in bytes.
    pub image_bytes: u64,
    /// Path of the slot's kernel on the host.
    pub kernel: String,
    /// SHA-256 of the kernel.
    pub kernel_sha256: Sha256Digest,
    /// Size of the kernel in bytes.
    pub kernel_bytes: u64,
    /// The extra partitions that came with it. A list that can't be read is not taken for an empty
    /// one: they would not be read back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionImage>,
    /// The version, for display; may be empty.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub version: String,
    /// SHA-256 of the payload.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub payload: Option<Sha256Digest>,
    /// Whether the image's postinst has agreed; not if it was left out.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub has_run_postinst: bool,
    /// Names and patterns of the extensions that were wanted then.
    #[serde(default, deserialize_with = "tolerant::known")]
    pub extensions: Vec<String>,
    /// When it was staged.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub staged: UnixTime,
    /// How many orderly reboots were to activate it.
    #[serde(
        default,
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "is_zero"
    )]
    pub reboots: u8,
    /// Whether its activation was counted already.
    #[serde(
        default,
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_counted: bool,
    /// Whether the server was told of a failure (exit code 3 of its postinst): no success follows.
    #[serde(
        default,
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_told_as_failed: bool,
    /// Fields of newer versions, kept for them.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// What the partition table says of a staged update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StagedFate {
    /// Its slot doesn't boot, as it was left.
    Staged,
    /// Its slot boots next, once: it waits for the reboot.
    Activated,
    /// Its slot runs.
    Runs,
    /// Its slot has spent its try, and another one runs.
    Tried,
    /// Something else has become of its slot.
    Void,
}

impl StagedUpdate {
    /// Whether `other` is about the same bytes at the same places.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let what = |staged: &Self| {
            let slot = (staged.partuuid.clone(), staged.image, staged.image_bytes);
            (
                slot,
                staged.kernel.clone(),
                staged.kernel_sha256,
                staged.kernel_bytes,
                staged.partitions.clone(),
            )
        };
        what(self) == what(other)
    }

    /// Its fate, where the slot `running` runs, by the attributes of slots and which of them boots
    /// next, all by PARTUUID.
    #[must_use]
    pub fn fate(
        &self,
        running: &str,
        attributes: impl Fn(&str) -> Option<SlotAttributes>,
        boots_next: Option<&str>,
    ) -> StagedFate {
        if self.partuuid == running {
            return StagedFate::Runs;
        }
        match attributes(&self.partuuid) {
            Some(slot) if slot.is_successful() => StagedFate::Void,
            Some(slot) if slot.priority().get() == 0 => StagedFate::Staged,
            Some(slot) if slot.is_selectable() && boots_next == Some(&self.partuuid) => StagedFate::Activated,
            Some(slot) if slot.tries().get() == 0 => StagedFate::Tried,
            _ => StagedFate::Void,
        }
    }
}

/// Who wants a staged update to be activated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivatedBy {
    /// An operator or a program, through the bus; or configuration that stages no more.
    Order,
    /// An orderly reboot.
    Reboot,
}

/// Everything that an activation is decided by, read at that moment. That the running slot is good
/// in both copies of the table is required beside it.
#[derive(Debug, Clone, Copy)]
pub struct ActivationInput<'a> {
    /// The update, by its record.
    pub staged: &'a StagedUpdate,
    /// Who wants it.
    pub by: ActivatedBy,
    /// `ACTIVATE` as it is now.
    pub activation: Activation,
    /// Its fate.
    pub fate: StagedFate,
    /// Whether the slot was read back and has been held since.
    pub is_held: bool,
    /// Size of the kernel file in bytes; none if it isn't there.
    pub kernel_bytes: Option<u64>,
    /// Whether the kernel file is as old as when it was read back.
    pub is_kernel_as_read: bool,
    /// Names and patterns of the extensions that are wanted now.
    pub extensions: &'a [String],
}

/// Why a staged update is not activated. The old version boots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActivationObstacle {
    /// Configuration leaves it to an order.
    #[error("ACTIVATE is not \"reboot\"")]
    NotByReboot,
    /// The table says something else of its slot than that it doesn't boot.
    #[error("something else has become of its slot")]
    SlotChanged,
    /// Nothing is known of the slot's bytes since the engine's last start.
    #[error("its slot was not read back since the update engine's last start")]
    NotReadBack,
    /// The loader would find no kernel.
    #[error("its kernel {0} is missing")]
    NoKernel(String),
    /// The loader would find another kernel.
    #[error("its kernel {path} has {found} bytes instead of {expected}")]
    OtherKernel {
        /// Path of the kernel.
        path: String,
        /// Its size in bytes.
        found: u64,
        /// The size that it had, in bytes.
        expected: u64,
    },
    /// The loader may find another kernel.
    #[error("its kernel {0} was written since it was read back")]
    KernelWritten(String),
    /// The slot would come up without it.
    #[error(
        "the extension {0:?} is wanted since, and was not staged with it: withdraw the update and check again"
    )]
    ExtensionAdded(String),
}

impl ActivationInput<'_> {
    /// Whether the update may be made the next to boot.
    ///
    /// # Errors
    /// The first obstacle.
    pub fn decide(&self) -> Result<(), ActivationObstacle> {
        if self.by == ActivatedBy::Reboot && self.activation != Activation::Reboot {
            return Err(ActivationObstacle::NotByReboot);
        }
        if self.fate != StagedFate::Staged {
            return Err(ActivationObstacle::SlotChanged);
        }
        if !self.is_held {
            return Err(ActivationObstacle::NotReadBack);
        }
        let path = || self.staged.kernel.clone();
        match self.kernel_bytes {
            None => return Err(ActivationObstacle::NoKernel(path())),
            Some(found) if found != self.staged.kernel_bytes => {
                return Err(ActivationObstacle::OtherKernel {
                    path: path(),
                    found,
                    expected: self.staged.kernel_bytes,
                });
            }
            Some(_) if !self.is_kernel_as_read => {
                return Err(ActivationObstacle::KernelWritten(path()));
            }
            Some(_) => {}
        }
        let mut wanted = self.extensions.iter();
        match wanted.find(|wanted| !self.staged.extensions.contains(wanted)) {
            Some(added) => Err(ActivationObstacle::ExtensionAdded(added.clone())),
            None => Ok(()),
        }
    }
}
