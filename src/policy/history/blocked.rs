//! Blocked payloads: which payloads are not installed again by themselves, in every package of their image.
//!
//! A payload whose trial was lost by a regression, which nobody has configured to be a requirement,
//! is put off at first, and tried once more: what an outage elsewhere takes down must not block an
//! image for ever. Lost again, an hour or more later, it is blocked as any other; and so at the third
//! time, whatever the clock says.

use payload_format::Sha256Digest;

use super::History;
use crate::plan::ImageHashes;
use crate::policy::blocked_payloads::{MOST_LOST_TRIALS, TRIALS_APART};
use crate::policy::{BlockedPayload, Rollback, SlotPayload};
use crate::status::UnixTime;

impl History {
    /// When a payload that was lost by a regression may be tried once more; nothing after a second
    /// trial, long enough after the first.
    pub(super) fn retry_from(&self, payload: &SlotPayload, now: UnixTime) -> Option<UnixTime> {
        let next = now.plus_seconds(TRIALS_APART);
        let Some(earlier) = payload.sha256.and_then(|sha256| self.entry_of(&sha256)) else {
            return Some(next);
        };
        let from = earlier.retry_from?;
        if earlier.lost_trials.saturating_add(1) >= MOST_LOST_TRIALS {
            return None;
        }
        // One further ahead is of a clock that was wrong: the hour begins anew.
        (now < from).then(|| from.min(next))
    }

    pub(super) fn block(&mut self, rollback: &Rollback, retry_from: Option<UnixTime>) {
        let Rollback {
            payload,
            noticed,
            cause,
            ..
        } = rollback;
        self.block_payload(payload, *noticed, cause, retry_from);
        self.last_rollback = Some(rollback.clone());
        self.interrupted = None;
        self.unreported = true;
    }

    /// Blocks the payload and all others that make the same image.
    pub(super) fn block_payload(
        &mut self,
        payload: &SlotPayload,
        noticed: UnixTime,
        cause: &str,
        retry_from: Option<UnixTime>,
    ) {
        let Some(own) = payload.sha256 else { return };
        let image = self.images.of(&own);
        let lost_before = self.entry_of(&own).map_or(0, |earlier| earlier.lost_trials);
        let lost_trials = retry_from.map_or(0, |_| lost_before.saturating_add(1));
        let others = image.into_iter().flat_map(|image| self.images.payloads(image));
        for sha256 in others.filter(|other| *other != own).chain([own]) {
            self.blocked.add(BlockedPayload {
                sha256,
                version: payload.version.clone(),
                noticed,
                cause: cause.to_owned(),
                image,
                retry_from,
                lost_trials,
            });
        }
    }

    /// The payload with this hash makes an image that is blocked: it is, too.
    pub fn block_package(&mut self, sha256: Sha256Digest, image: ImageHashes) {
        if let Some(blocked) = self.blocked.find_image(&image).cloned() {
            self.blocked.add(BlockedPayload {
                sha256,
                image: Some(image),
                ..blocked
            });
        }
    }

    /// The payload blocked at `now` with this hash, or with the image that it is known to make.
    #[must_use]
    pub fn blocked_payload(&self, sha256: &Sha256Digest, now: UnixTime) -> Option<&BlockedPayload> {
        self.entry_of(sha256).filter(|blocked| blocked.blocks(now))
    }

    fn entry_of(&self, sha256: &Sha256Digest) -> Option<&BlockedPayload> {
        let by_image = || self.blocked.find_image(&self.images.of(sha256)?);
        self.blocked.find(sha256).or_else(by_image)
    }

    pub(super) fn forgive(&mut self, sha256: &Sha256Digest) {
        self.blocked.forgive(sha256, self.images.of(sha256));
    }
}
