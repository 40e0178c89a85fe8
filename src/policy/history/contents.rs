//! The contents of the slots, by PARTUUID: what was seen running in one, or was committed to it.

use payload_format::Sha256Digest;

use super::History;
use crate::policy::SlotPayload;

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
}
