//! The release of an image, for the manifest of its payload.

use std::fs::File;
use std::io::Read as _;

use payload_format::writer::{ImageFiles, Snapshot};
use payload_format::{ImageRelease, MajorVersion};

use super::generate::{GenerateError, GenerateOptions};
use crate::image::{OS_RELEASE, systemd_version};

/// The `os-release` that was named, or else that of the image, if it has a file system that can be
/// read here (ext2, ext3, ext4); with the version of the image's systemd, likewise. None in version
/// 1, which has no place for it.
///
/// # Errors
/// A file or the image can't be read, or the file is no `os-release`.
pub(super) fn image_release(
    from: &GenerateOptions,
    image: Snapshot<'_>,
) -> Result<Option<ImageRelease>, GenerateError> {
    if from.version == MajorVersion::V1 {
        return Ok(None);
    }
    let read = |source| GenerateError::Read {
        path: from.image.clone(),
        source,
    };
    let files = ImageFiles::of(image).map_err(read)?;
    let named = from.os_release.as_deref().map(|path| {
        let read = |source| GenerateError::Read {
            path: path.into(),
            source,
        };
        let mut text = Vec::new();
        let file = File::open(path).map_err(read)?;
        let most = ImageRelease::MAX_LEN as u64;
        file.take(most + 1).read_to_end(&mut text).map_err(read)?;
        if text.len() > ImageRelease::MAX_LEN {
            return Err(GenerateError::ReleaseLength {
                path: path.into(),
                len: text.len() as u64,
            });
        }
        Ok(text)
    });
    let own = || match &files {
        Some(files) => {
            let path = format!("/{OS_RELEASE}");
            files
                .text(path.as_bytes(), ImageRelease::MAX_LEN as u64)
                .map_err(read)
        }
        None => Ok(None),
    };
    let os_release = match named {
        Some(named) => Some(named?),
        None => own()?.filter(|text| !text.is_empty()),
    };
    let systemd = files.as_ref().and_then(|files| {
        systemd_version(|path| {
            let path = format!("/{path}");
            let found = files.names(path.as_bytes());
            found
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect()
        })
    });
    Ok(os_release.map(|os_release| ImageRelease { os_release, systemd }))
}
