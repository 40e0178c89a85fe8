//! Blocked payloads: images that this machine rolled back from, and the payloads that make them.
//!
//! The same image comes in several packages (full and delta, version 1 and 2), and what speaks
//! against one of them speaks against all. Which payload makes which image is a record of its own
//! ([`KnownImages`]): an earlier version, in the other slot, that rewrites the history of updates
//! leaves it alone.

use payload_format::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::plan::ImageHashes;
use crate::status::UnixTime;
use crate::store::tolerant;

/// Most payloads remembered; the oldest is forgotten first.
const MOST_BLOCKED: usize = 16;

/// Seconds between two trials that were lost by a regression before the second one counts: what an
/// outage elsewhere takes down at once must not block an image for ever.
pub(super) const TRIALS_APART: i64 = 60 * 60;

/// Trials that are lost by a regression at most, however close together the clock has them: one that
/// starts in the past at every boot would never tell them apart.
pub(super) const MOST_LOST_TRIALS: u32 = 3;

/// A payload that booted and was not kept, or that makes the same image as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedPayload {
    /// SHA-256 of the payload.
    pub sha256: Sha256Digest,
    /// Its version, for display.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub version: String,
    /// When the rollback was noticed.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub noticed: UnixTime,
    /// The cause for which it was not kept, as far as that is known.
    #[serde(default = "tolerant::unknown_cause", deserialize_with = "tolerant::cause")]
    pub cause: String,
    /// The image that it makes, if that is known.
    #[serde(
        default,
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "Option::is_none"
    )]
    pub image: Option<ImageHashes>,
    /// Unix time from which on it may be installed once more by itself; none if it may not. Versions
    /// that don't know this field block it until an operator asks.
    #[serde(
        default,
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_from: Option<UnixTime>,
    /// Trials that were lost by a regression, while it may be installed once more.
    #[serde(
        default,
        deserialize_with = "tolerant::or_default",
        skip_serializing_if = "is_none_lost"
    )]
    pub lost_trials: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_none_lost(trials: &u32) -> bool {
    *trials == 0
}

impl BlockedPayload {
    /// Whether it is not installed by itself at `now`. A time that lies further ahead than any that
    /// is chosen now was written by a clock that was wrong, and is over.
    #[must_use]
    pub fn blocks(&self, now: UnixTime) -> bool {
        let is_ahead = |from: UnixTime| now < from && from <= now.plus_seconds(TRIALS_APART);
        self.retry_from.is_none_or(is_ahead)
    }

    fn makes(&self, image: &ImageHashes) -> bool {
        self.image.is_some_and(|own| own.is(image))
    }
}

/// The payloads that are installed again only on demand, in whichever package they come. The JSON
/// form is meant for a record: one entry for each package, which is all that earlier versions look
/// for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockedPayloads(#[serde(deserialize_with = "tolerant::known")] Vec<BlockedPayload>);

impl BlockedPayloads {
    /// Adds a payload. One that is there already is replaced and counts as the latest.
    pub fn add(&mut self, blocked: BlockedPayload) {
        self.0.retain(|other| other.sha256 != blocked.sha256);
        self.0.push(blocked);
        while self.0.len() > MOST_BLOCKED {
            self.0.remove(self.most_dispensable());
        }
    }

    /// The index of the oldest entry whose image a later entry has too; else of the oldest entry.
    fn most_dispensable(&self) -> usize {
        let is_named_again = |(at, blocked): (usize, &BlockedPayload)| {
            let image = blocked.image?;
            let mut later = self.0.iter().skip(at + 1);
            later.any(|later| later.makes(&image)).then_some(at)
        };
        self.0.iter().enumerate().find_map(is_named_again).unwrap_or(0)
    }

    /// The entry of the payload with this hash.
    #[must_use]
    pub fn find(&self, sha256: &Sha256Digest) -> Option<&BlockedPayload> {
        self.0.iter().find(|blocked| blocked.sha256 == *sha256)
    }

    /// The latest entry of a payload that makes this image.
    #[must_use]
    pub fn find_image(&self, image: &ImageHashes) -> Option<&BlockedPayload> {
        self.0.iter().rev().find(|blocked| blocked.makes(image))
    }

    /// Removes a payload, such as one that has been marked good since, and all that make the same
    /// `image`.
    pub fn forgive(&mut self, sha256: &Sha256Digest, image: Option<ImageHashes>) {
        let own = self.find(sha256).and_then(|blocked| blocked.image);
        let images = [own, image];
        let is_forgiven = |blocked: &BlockedPayload| {
            let mut images = images.iter().flatten();
            blocked.sha256 == *sha256 || images.any(|image| blocked.makes(image))
        };
        self.0.retain(|blocked| !is_forgiven(blocked));
    }

    /// Fills in missing images, as far as `image` knows them.
    pub fn complete(&mut self, image: impl Fn(&Sha256Digest) -> Option<ImageHashes>) {
        for blocked in &mut self.0 {
            blocked.image = blocked.image.or_else(|| image(&blocked.sha256));
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut BlockedPayload> {
        self.0.iter_mut()
    }

    /// Iterates over the payloads, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &BlockedPayload> {
        self.0.iter()
    }
}

/// Payloads remembered; the oldest is forgotten first.
const MOST_KNOWN_IMAGES: usize = 32;

/// A payload and the image that it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownImage {
    /// SHA-256 of the payload.
    payload: Sha256Digest,
    #[serde(flatten)]
    image: ImageHashes,
}

/// The payloads that were installed on this machine, with their images. Its JSON form is meant for
/// a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KnownImages(#[serde(deserialize_with = "tolerant::known")] Vec<KnownImage>);

impl KnownImages {
    /// Remembers that the payload with this hash, which a trusted key has signed, makes `image`.
    pub fn remember(&mut self, payload: Sha256Digest, image: ImageHashes) {
        self.0.retain(|made| made.payload != payload);
        self.0.push(KnownImage { payload, image });
        let excess = self.0.len().saturating_sub(MOST_KNOWN_IMAGES);
        self.0.drain(..excess);
    }

    /// The image that this payload makes, if that is known.
    #[must_use]
    pub fn of(&self, payload: &Sha256Digest) -> Option<ImageHashes> {
        let made = self.0.iter().find(|made| made.payload == *payload);
        made.map(|made| made.image)
    }

    /// The payloads that make `image`.
    pub fn payloads(&self, image: ImageHashes) -> impl Iterator<Item = Sha256Digest> + '_ {
        let made = self.0.iter().filter(move |made| made.image.is(&image));
        made.map(|made| made.payload)
    }

    /// Whether two payloads are known to make the same image.
    #[must_use]
    pub fn are_same(&self, one: &Sha256Digest, other: &Sha256Digest) -> bool {
        let image = |payload| self.of(payload);
        one == other
            || image(one)
                .zip(image(other))
                .is_some_and(|(one, other)| one.is(&other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(number: u8) -> BlockedPayload {
        BlockedPayload {
            sha256: [number; 32].into(),
            version: number.to_string(),
            noticed: UnixTime(i64::from(number)),
            cause: "did not come up".to_owned(),
            image: None,
            retry_from: None,
            lost_trials: 0,
        }
    }

    fn making(number: u8, image: u8) -> BlockedPayload {
        let image = ImageHashes {
            slot: [image; 32].into(),
            kernel: None,
        };
        BlockedPayload {
            image: Some(image),
            ..payload(number)
        }
    }

    #[test]
    fn only_the_latest_are_remembered_and_each_once() {
        let mut blocked = BlockedPayloads::default();
        for number in 0..20 {
            blocked.add(payload(number));
            blocked.add(payload(number));
        }
        assert_eq!(blocked.iter().count(), MOST_BLOCKED);
        assert_eq!(blocked.find(&[3; 32].into()), None);
        assert_eq!(blocked.find(&[4; 32].into()), Some(&payload(4)));
    }

    #[test]
    fn however_many_packages_make_one_image_no_other_is_forgotten_for_them() {
        let mut blocked = BlockedPayloads::default();
        blocked.add(making(1, 1));
        for number in 2..100 {
            blocked.add(making(number, 2));
        }
        assert_eq!(blocked.iter().count(), MOST_BLOCKED);
        assert!(blocked.find(&[1; 32].into()).is_some() && blocked.find(&[99; 32].into()).is_some());
    }

    #[test]
    fn a_forgiven_payload_is_not_blamed_nor_is_another_that_makes_the_same() {
        let mut blocked = BlockedPayloads::default();
        blocked.add(payload(1));
        blocked.forgive(&[1; 32].into(), None);
        assert_eq!(blocked, BlockedPayloads::default());

        for forgiven in [1, 2, 3] {
            blocked.add(making(1, 7));
            blocked.add(making(2, 7));
            blocked.forgive(&[forgiven; 32].into(), making(0, 7).image);
            assert_eq!(blocked, BlockedPayloads::default(), "{forgiven}");
        }
        blocked.add(making(1, 7));
        blocked.add(making(2, 8));
        blocked.forgive(&[1; 32].into(), None);
        assert!(blocked.find(&[1; 32].into()).is_none() && blocked.find(&[2; 32].into()).is_some());
    }

    fn image(slot: u8, kernel: Option<u8>) -> ImageHashes {
        ImageHashes {
            slot: [slot; 32].into(),
            kernel: kernel.map(|kernel| [kernel; 32].into()),
        }
    }

    #[test]
    fn an_image_is_the_same_unless_slot_or_kernel_are_known_to_differ() {
        for (one, other, same) in [
            (image(1, Some(1)), image(1, Some(1)), true),
            (image(1, Some(1)), image(1, Some(2)), false),
            (image(1, Some(1)), image(2, Some(1)), false),
            (image(1, None), image(1, Some(2)), true),
            (image(1, None), image(2, None), false),
        ] {
            assert_eq!(
                (one.is(&other), other.is(&one)),
                (same, same),
                "{one:?} {other:?}"
            );
        }
    }

    #[test]
    fn the_last_payloads_are_remembered_each_once() -> Result<(), serde_json::Error> {
        let mut images = KnownImages::default();
        for number in 0..40 {
            images.remember([number; 32].into(), image(number, None));
            images.remember([number; 32].into(), image(number / 2, None));
        }
        assert_eq!(
            (images.0.len(), images.of(&[7; 32].into())),
            (MOST_KNOWN_IMAGES, None)
        );
        assert!(
            images.are_same(&[38; 32].into(), &[39; 32].into())
                && !images.are_same(&[37; 32].into(), &[38; 32].into())
        );
        assert_eq!(images.payloads(image(15, Some(1))).count(), 2);
        let json = serde_json::to_string(&images)?;
        assert_eq!(serde_json::from_str::<KnownImages>(&json)?, images);
        Ok(())
    }

    #[test]
    fn what_another_version_wrote_leaves_the_rest_usable() -> Result<(), serde_json::Error> {
        let zeros = vec![0; 32];
        let json = serde_json::json!([
            {"payload": zeros, "slot": zeros, "kernel": "signed by itself", "ramdisk": [1]},
            {"payload": "?"},
            7,
        ]);
        let images: KnownImages = serde_json::from_value(json)?;
        assert_eq!(images.of(&[0; 32].into()), Some(image(0, None)));
        assert_eq!(images.0.len(), 1);
        Ok(())
    }
}
