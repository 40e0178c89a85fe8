//! The contents of the slots, by PARTUUID: what was seen running in one, or was committed to it, and
//! whether that runs for the first time.

use payload_format::Sha256Digest;

use super::History;
use crate::policy::{SlotPayload, Trial, TrialProgress};

impl History {
    /// Notes that the slot with this PARTUUID runs, and says that it is `version`. Its payload
    /// stays known unless another program has filled the slot since. An empty version is one that
    /// couldn't be read: it tells nothing.
    pub fn runs(&mut self, partuuid: &str, version: &str) {
        if !version.is_empty() && self.version_in(partuuid) != Some(version) {
            let payload = SlotPayload {
                sha256: None,
                version: version.to_owned(),
            };
            self.held.insert(partuuid.to_owned(), payload);
        }
    }

    /// Forgets the contents of the slot with this PARTUUID, which is about to be overwritten.
    pub fn overwritten(&mut self, partuuid: &str) {
        self.held.remove(partuuid);
        self.filled.retain(|slot| slot != partuuid);
    }

    /// The version in the slot with this PARTUUID, if that is known.
    #[must_use]
    pub fn version_in(&self, partuuid: &str) -> Option<&str> {
        self.held.get(partuuid).map(|payload| payload.version.as_str())
    }

    /// SHA-256 of the payload that the slot with this PARTUUID was filled from, if that is known.
    #[must_use]
    pub fn payload_in(&self, partuuid: &str) -> Option<&Sha256Digest> {
        self.held.get(partuuid)?.sha256.as_ref()
    }

    /// The slot `running` runs in the boot called `boot`; to be told before [`Self::looked`].
    pub fn boots(&mut self, running: &str, boot: &str) {
        let is_first =
            |trial: &Trial| trial.partuuid == running && trial.progress == TrialProgress::Committed;
        if self.trial.as_ref().is_some_and(is_first) && !boot.is_empty() {
            self.first_boot = Some(boot.to_owned());
        }
    }

    /// The payload on trial in the slot `running`, if this engine has installed it and the boot
    /// called `boot` is its first one.
    #[must_use]
    pub fn first_trial(&self, running: &str, boot: &str) -> Option<&SlotPayload> {
        let trial = self.trial.as_ref().filter(|trial| trial.partuuid == running)?;
        let is_first = self.first_boot.as_deref() == Some(boot);
        (is_first && trial.payload.sha256.is_some()).then_some(&trial.payload)
    }

    /// Whether the last update went to the slot `running`.
    #[must_use]
    pub fn was_updated(&self, running: &str) -> bool {
        self.last_target.as_deref() == Some(running)
    }

    /// Whether the slot was filled by an update. None boots but after it was read back and compared
    /// with what a trusted key has signed.
    #[must_use]
    pub fn is_filled(&self, partuuid: &str) -> bool {
        self.filled.iter().any(|slot| slot == partuuid)
    }
}
