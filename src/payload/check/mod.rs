//! The check whether nodes would install a payload: everything that each of them refuses and that
//! is known without one.
//!
//! Beside what [`verify`](super::verify) looks at, and before it: what nodes refuse of a manifest
//! ([`NodeRefusal`]). After it: operations are carried out by the code that carries them out on
//! nodes, so that data is unpacked with a node's limits. A full image is made and must have its
//! hash. Of a delta, zeros stand for the old image.

mod refusal;
mod trial_image;

use std::io;
use std::path::PathBuf;

use payload_format::{ApplyError, Event, Finished, ImageKind, MajorVersion, Sha256Digest};

pub use self::refusal::NodeRefusal;
pub(super) use self::refusal::{of_images, unsigned};
use self::trial_image::TrialImage;
use super::file::{PayloadError, PayloadFile};
use super::trust::Trust;
use super::verify::{VerifyError, verify, verify_with};

/// Why nodes would not install a payload, or none can be said to.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is damaged, incomplete, no payload, or by nobody trusted.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// What it brings is refused.
    #[error("{path} would be refused by every node")]
    Refused {
        /// The payload's file.
        path: PathBuf,
        /// The rule of nodes that it breaks.
        source: NodeRefusal,
    },
    /// An operation can't be carried out.
    #[error("{path} would fail on every node, at its {image} image")]
    Operation {
        /// The payload's file.
        path: PathBuf,
        /// The image that the operation makes.
        image: ImageKind,
        /// Why. Apart, since errors are returned from everywhere.
        source: Box<ApplyError>,
    },
    /// Its operations make another image than it says.
    #[error(
        "{path} would fail on every node: its operations make a {image} image with SHA-256 {found}, the manifest says {expected}"
    )]
    Mismatch {
        /// The payload's file.
        path: PathBuf,
        /// The image that differs.
        image: ImageKind,
        /// As the manifest says.
        expected: Sha256Digest,
        /// Of what is made.
        found: Sha256Digest,
    },
    /// There is no room for an image whose hash can't be taken on the way.
    #[error("cannot keep the {image} image of {path} below {} for a moment", std::env::temp_dir().display())]
    Spool {
        /// The payload's file.
        path: PathBuf,
        /// The image that is to be hashed.
        image: ImageKind,
        /// What the system says.
        source: io::Error,
    },
}

impl From<PayloadError> for CheckError {
    fn from(error: PayloadError) -> Self {
        Self::Verify(error.into())
    }
}

/// A payload that nodes take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Its hash and signatures.
    pub finished: Finished,
    /// The images whose result is not known, as they are made from old ones.
    pub deltas: Vec<ImageKind>,
}

/// Reads the whole payload: structure, hashes, signatures, what nodes refuse of manifests, and what
/// its operations do.
///
/// # Errors
/// [`CheckError`].
pub fn check(payload: &PayloadFile, trust: &Trust) -> Result<CheckReport, CheckError> {
    let path = || payload.path().to_owned();
    if payload.beginning()?.0.version == MajorVersion::V1 {
        // Nobody vouches for its metadata before its end: whoever made it would say how much is
        // unpacked here.
        verify(payload, trust)?;
    }
    let (mut trials, mut deltas) = (Vec::new(), Vec::new());
    let (finished, _) = verify_with(payload, trust, |event| {
        if let Event::Metadata { manifest, .. } = event {
            let images = manifest.images().iter();
            let kinds = images.clone().map(|image| (Some(image.kind), image.is_delta()));
            if let Some(source) = of_images(kinds).into_iter().next() {
                return Err(CheckError::Refused { path: path(), source });
            }
            deltas.extend(
                images
                    .clone()
                    .filter(|image| image.is_delta())
                    .map(|image| image.kind),
            );
            let begun = images.map(|image| TrialImage::begin(payload.path(), manifest, image));
            trials = begun.collect::<Result<_, _>>()?;
        }
        trials.iter_mut().try_for_each(|trial| trial.take(event))
    })?;
    trials.into_iter().try_for_each(TrialImage::finish)?;
    Ok(CheckReport { finished, deltas })
}
