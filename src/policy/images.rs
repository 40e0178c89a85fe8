//! The images that payloads make. The same image comes in several packages (full and delta, version
//! 1 and 2), and what speaks against one of them speaks against all.
//!
//! A record of its own: an earlier version, in the other slot, that rewrites the history of updates
//! leaves this one alone.

use payload_format::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::plan::ImageHashes;
use crate::store::tolerant;

/// Payloads remembered; the oldest is forgotten first.
const MOST: usize = 32;

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
        let excess = self.0.len().saturating_sub(MOST);
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
        assert_eq!((images.0.len(), images.of(&[7; 32].into())), (MOST, None));
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
