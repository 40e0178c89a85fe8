//! The PCR policy as an image target: expected measurements of the new image, for the service that
//! attests this machine.

use std::path::{Path, PathBuf};

use payload_format::{ApplyError, Image, ImageInfo, ImageKind};
use tokio_util::sync::CancellationToken;

use super::file_image::{FileImage, verify};
use super::{ImageDevice, ImageTarget};
use crate::fetch::Fetcher;
use crate::install::InstallError;
use crate::install::attempt::{AttemptSetup, blocking};
use crate::install::read_back::ReadBack;

/// The target slot's policy, a file below the state directory. No delta is made of it: nodes keep
/// no old one.
pub(super) struct PcrPolicyTarget<'a>(pub(super) &'a AttemptSetup);

impl PcrPolicyTarget<'_> {
    fn path(&self) -> PathBuf {
        self.0.path(&self.0.plan.pcr_policy)
    }
}

impl ImageTarget for PcrPolicyTarget<'_> {
    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn open_source(&self, _: &Image) -> Result<Option<ImageDevice>, InstallError> {
        Ok(None)
    }

    fn open(&self, image: &Image) -> Result<ImageDevice, InstallError> {
        let path = self.path();
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(InstallError::io("making", &parent.display()))?;
        }
        FileImage::rewritten(self.0, path, image.new.size)
    }

    fn check_source(&self, _: &ImageInfo, _: &CancellationToken) -> Result<(), InstallError> {
        Err(ApplyError::NoSource(ImageKind::PcrPolicy).into())
    }

    fn verify(&self, new: ImageInfo, _: Option<ReadBack>, _: &CancellationToken) -> Result<(), InstallError> {
        verify(ImageKind::PcrPolicy, self.path(), new)
    }
}

/// Posts the policy at `path` to `url`.
///
/// # Errors
/// If it can't be read, or the server doesn't take it.
pub(in crate::install) async fn post(fetcher: &Fetcher, path: &Path, url: &str) -> Result<(), InstallError> {
    let file = path.to_owned();
    let policy = blocking(move || {
        std::fs::read(&file).map_err(|source| InstallError::Io {
            action: "reading",
            what: file.display().to_string(),
            source,
        })
    })
    .await?;
    let posted = fetcher.post(url, "application/octet-stream", policy).await;
    posted.map_err(|source| InstallError::PcrPost {
        url: url.to_owned(),
        source,
    })
}
