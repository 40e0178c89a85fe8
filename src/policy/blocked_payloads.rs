//! Blocked payloads: images that this machine rolled back from, and the payloads that make them.

use payload_format::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::plan::ImageHashes;
use crate::status::UnixTime;
use crate::store::tolerant;

/// Most payloads remembered; the oldest is forgotten first.
const MOST: usize = 16;

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
}

impl BlockedPayload {
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
    pub fn add(&mut self, blame: BlockedPayload) {
        self.0.retain(|other| other.sha256 != blame.sha256);
        self.0.push(blame);
        while self.0.len() > MOST {
            self.0.remove(self.most_dispensable());
        }
    }

    /// The index of the oldest entry whose image a later entry has too; else of the oldest entry.
    fn most_dispensable(&self) -> usize {
        let is_named_again = |(at, blame): (usize, &BlockedPayload)| {
            let image = blame.image?;
            let mut later = self.0.iter().skip(at + 1);
            later.any(|later| later.makes(&image)).then_some(at)
        };
        self.0.iter().enumerate().find_map(is_named_again).unwrap_or(0)
    }

    /// The entry of the payload with this hash.
    #[must_use]
    pub fn find(&self, sha256: &Sha256Digest) -> Option<&BlockedPayload> {
        self.0.iter().find(|blame| blame.sha256 == *sha256)
    }

    /// The latest entry of a payload that makes this image.
    #[must_use]
    pub fn find_image(&self, image: &ImageHashes) -> Option<&BlockedPayload> {
        self.0.iter().rev().find(|blame| blame.makes(image))
    }

    /// Removes a payload, such as one that has been marked good since, and all that make the same
    /// `image`.
    pub fn forgive(&mut self, sha256: &Sha256Digest, image: Option<ImageHashes>) {
        let own = self.find(sha256).and_then(|blame| blame.image);
        let images = [own, image];
        let is_forgiven = |blame: &BlockedPayload| {
            let mut images = images.iter().flatten();
            blame.sha256 == *sha256 || images.any(|image| blame.makes(image))
        };
        self.0.retain(|blame| !is_forgiven(blame));
    }

    /// Fills in missing images, as far as `image` knows them.
    pub fn complete(&mut self, image: impl Fn(&Sha256Digest) -> Option<ImageHashes>) {
        for blame in &mut self.0 {
            blame.image = blame.image.or_else(|| image(&blame.sha256));
        }
    }

    /// Iterates over the payloads, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &BlockedPayload> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blame(number: u8) -> BlockedPayload {
        BlockedPayload {
            sha256: [number; 32].into(),
            version: number.to_string(),
            noticed: UnixTime(i64::from(number)),
            cause: "did not come up".to_owned(),
            image: None,
        }
    }

    fn making(number: u8, image: u8) -> BlockedPayload {
        let image = ImageHashes {
            slot: [image; 32].into(),
            kernel: None,
        };
        BlockedPayload {
            image: Some(image),
            ..blame(number)
        }
    }

    #[test]
    fn only_the_latest_are_remembered_and_each_once() {
        let mut blamed = BlockedPayloads::default();
        for number in 0..20 {
            blamed.add(blame(number));
            blamed.add(blame(number));
        }
        assert_eq!(blamed.iter().count(), MOST);
        assert_eq!(blamed.find(&[3; 32].into()), None);
        assert_eq!(blamed.find(&[4; 32].into()), Some(&blame(4)));
    }

    #[test]
    fn however_many_packages_make_one_image_no_other_is_forgotten_for_them() {
        let mut blamed = BlockedPayloads::default();
        blamed.add(making(1, 1));
        for number in 2..100 {
            blamed.add(making(number, 2));
        }
        assert_eq!(blamed.iter().count(), MOST);
        assert!(blamed.find(&[1; 32].into()).is_some() && blamed.find(&[99; 32].into()).is_some());
    }

    #[test]
    fn a_forgiven_payload_is_not_blamed_nor_is_another_that_makes_the_same() {
        let mut blamed = BlockedPayloads::default();
        blamed.add(blame(1));
        blamed.forgive(&[1; 32].into(), None);
        assert_eq!(blamed, BlockedPayloads::default());

        for forgiven in [1, 2, 3] {
            blamed.add(making(1, 7));
            blamed.add(making(2, 7));
            blamed.forgive(&[forgiven; 32].into(), making(0, 7).image);
            assert_eq!(blamed, BlockedPayloads::default(), "{forgiven}");
        }
        blamed.add(making(1, 7));
        blamed.add(making(2, 8));
        blamed.forgive(&[1; 32].into(), None);
        assert!(blamed.find(&[1; 32].into()).is_none() && blamed.find(&[2; 32].into()).is_some());
    }
}
