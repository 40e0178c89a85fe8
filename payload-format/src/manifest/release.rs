//! Release of the slot's image: a copy of what the image says of itself, in the manifest, so that a
//! node can judge the image before it writes anything.

use super::ManifestError;
use crate::wire;

/// The release of the slot's image. Nothing in it is checked but its length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageRelease {
    /// Contents of its `/usr/lib/os-release`, at most [`Self::MAX_LEN`] bytes.
    pub os_release: Vec<u8>,
    /// Version of its systemd, if that was known.
    pub systemd: Option<u32>,
}

impl ImageRelease {
    /// Longest `os-release` in a manifest, in bytes; real ones have less than one KiB.
    pub const MAX_LEN: usize = 16 << 10;
}

impl TryFrom<wire::ReleaseInfo> for ImageRelease {
    type Error = ManifestError;

    fn try_from(wire: wire::ReleaseInfo) -> Result<Self, ManifestError> {
        let os_release = wire.os_release.unwrap_or_default();
        if os_release.len() > Self::MAX_LEN {
            return Err(ManifestError::ReleaseLength(os_release.len()));
        }
        Ok(Self {
            os_release,
            systemd: wire.systemd,
        })
    }
}

impl From<&ImageRelease> for wire::ReleaseInfo {
    fn from(release: &ImageRelease) -> Self {
        Self {
            os_release: Some(release.os_release.clone()),
            systemd: release.systemd,
        }
    }
}
