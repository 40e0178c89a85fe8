//! The `extension-release` of a merged extension that stays under another image, as systemd will read
//! it at the next merge.
//!
//! ```text
//!   directory        its own file, as it is now
//!   image            the merged tree's, which is as old as the merge: counts while neither the image
//!                    nor a link to it has changed since
//!   .v directory     the same, of the directory and everything in it
//! ```
//!
//! The daemon may not mount an image. So it can't read one that was replaced or written to since the
//! merge, and the merged text would be that of the old one. systemd (252 to 257) writes a file with
//! each merge, which tells the merge's time. If the clock was set since, an image may look newer than
//! its merge: then nothing is judged.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::getxattr;

use super::ExtensionClass;
use super::image_signature::ImageSignature;
use super::in_force::{SameExtension, UnderAnotherImage, WalkEnd, WalkLimit, walk};
use crate::host::{Host, Unreadable, machine};
use crate::image::{OsRelease, architecture_of};

/// By which the author of an extension allows its file any name, with the value 0.
pub(super) const STRICT: &str = "user.extension-release.strict";

/// Ends of the names of files beside an image that have its root hash, or more, in place of its own
/// partitions.
const BESIDE: [&str; 4] = ["roothash", "roothash.p7s", "usrhash", "verity"];

/// Entries of a `.v` directory that are looked at; one with more can't be told.
const MOST: usize = 256;

/// Seconds and nanoseconds since 1970.
pub(super) type ChangeTime = (i64, i64);

/// When a file, its attributes or its name were changed last: nobody can set that.
pub(super) fn change_time(found: &Metadata) -> ChangeTime {
    (found.ctime(), found.ctime_nsec())
}

/// Why it can't be told what an extension says of itself.
#[derive(Debug, thiserror::Error)]
enum NotTold {
    #[error("{} was changed after systemd merged it", .0.display())]
    Changed(PathBuf),
    #[error("nothing says when systemd merged it")]
    NoMergeTime,
    #[error("{} is no image, and may be another version than the merged one", .0.display())]
    NoImage(PathBuf),
    #[error("{} has too many entries", .0.display())]
    TooMany(PathBuf),
    #[error("the merged tree has no extension-release file of its name")]
    NoRelease,
    #[error("{} can't be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
}

impl From<Unreadable> for NotTold {
    fn from(error: Unreadable) -> Self {
        Self::Read {
            path: error.path.into(),
            source: error.source,
        }
    }
}

/// An extension's file or directory that stays under another image.
pub(super) struct StayingExtension {
    /// Absolute, without links.
    pub(super) path: PathBuf,
    /// When a link to it was changed last.
    pub(super) newest_link: Option<ChangeTime>,
}

impl StayingExtension {
    /// Whether systemd chooses from a directory of versions.
    pub(super) fn is_versioned(&self) -> bool {
        self.path.extension().is_some_and(|end| end == "v")
    }

    /// What becomes of it.
    pub(super) fn under_another_image(
        &self,
        host: &Host,
        class: ExtensionClass,
        name: &str,
    ) -> UnderAnotherImage {
        match self.told(host, class, name) {
            Ok(told) => told,
            Err(why) => UnderAnotherImage::NotTold(why.to_string()),
        }
    }

    fn told(&self, host: &Host, class: ExtensionClass, name: &str) -> Result<UnderAnotherImage, NotTold> {
        let real = host.path(&self.path.to_string_lossy());
        let unreadable = |source| NotTold::Read {
            path: self.path.clone(),
            source,
        };
        let found = fs::metadata(&real).map_err(unreadable)?;
        let is_masked = || -> io::Result<bool> {
            let is_null = found.file_type().is_char_device();
            Ok(is_null || found.is_dir() && fs::read_dir(&real)?.next().is_none())
        };
        // Taken away since it was merged.
        if is_masked().map_err(unreadable)? {
            return Ok(UnderAnotherImage::NotKnown);
        }
        let (text, signatures) = if found.is_dir() && !self.is_versioned() {
            (self.own_text(host, class, name)?, Vec::new())
        } else {
            let images = self.unchanged_images(host, class, &found)?;
            let merged = format!("{}/extension-release.{name}", class.release_directory());
            let text = host.read(&merged)?.ok_or(NotTold::NoRelease)?;
            (Some(text), signatures(host, &images))
        };
        // What systemd refuses counts as nothing.
        let release = text.and_then(|text| OsRelease::parse(&text, None).ok());
        Ok(UnderAnotherImage::Same(SameExtension { release, signatures }))
    }

    /// The file in its directory under its own name, or else the only one under another name that
    /// may have one; links are followed inside the directory.
    fn own_text(&self, host: &Host, class: ExtensionClass, name: &str) -> Result<Option<Vec<u8>>, NotTold> {
        let inside = |path: &Path| {
            let below = path.strip_prefix("/").unwrap_or(path);
            host.path(&self.path.join(below).to_string_lossy())
        };
        let directory = Path::new(class.release_directory());
        let own = directory.join(format!("extension-release.{name}"));
        let found = walk(inside, &own, WalkLimit::Never);
        let found = found.map_err(|source| NotTold::Read { path: own, source })?;
        let path = match found {
            WalkEnd::To(path, _) => Some(path),
            WalkEnd::Nowhere => renamed(&inside(directory))
                .map_err(|source| NotTold::Read {
                    path: self.path.clone(),
                    source,
                })?
                .map(|name| directory.join(name)),
        };
        let Some(path) = path else { return Ok(None) };
        let path = self.path.join(path.strip_prefix("/").unwrap_or(&path));
        Ok(host.read(&path.to_string_lossy())?)
    }

    /// The image, or those among which systemd chooses: nothing that decides about the next merge is
    /// newer than the last one.
    fn unchanged_images(
        &self,
        host: &Host,
        class: ExtensionClass,
        found: &Metadata,
    ) -> Result<Vec<PathBuf>, NotTold> {
        let merged = merge_time(host, class)?;
        let is_newer = |time: ChangeTime| time > merged;
        if is_newer(change_time(found)) || self.newest_link.is_some_and(is_newer) {
            return Err(NotTold::Changed(self.path.clone()));
        }
        if !found.is_dir() {
            return Ok(vec![self.path.clone()]);
        }
        let mut images = Vec::new();
        let read = |source| NotTold::Read {
            path: self.path.clone(),
            source,
        };
        let entries = fs::read_dir(host.path(&self.path.to_string_lossy())).map_err(read)?;
        for (count, entry) in entries.enumerate() {
            let entry = entry.map_err(read)?;
            let path = self.path.join(entry.file_name());
            if count == MOST {
                return Err(NotTold::TooMany(self.path.clone()));
            }
            // Links are not followed, and of directories nobody knows which one was merged.
            let found = entry.metadata().map_err(read)?;
            if !found.is_file() {
                return Err(NotTold::NoImage(path));
            }
            if is_newer(change_time(&found)) {
                return Err(NotTold::Changed(path));
            }
            images.push(path);
        }
        Ok(images)
    }
}

/// The signatures of those of these images that have one, or why one can't be read.
fn signatures(host: &Host, images: &[PathBuf]) -> Vec<Result<ImageSignature, String>> {
    let lies = |path: &Path| host.path(&path.to_string_lossy());
    let machine = machine();
    let signature = |path: &PathBuf| {
        let beside = BESIDE.map(|end| path.with_extension(end));
        if let Some(beside) = beside.iter().find(|beside| lies(beside).exists()) {
            return Some(Err(format!("{} is not read", beside.display())));
        }
        let found = ImageSignature::of_file(&lies(path), architecture_of(&machine)).transpose()?;
        Some(found.map_err(|error| format!("{}: {error}", path.display())))
    };
    images.iter().filter_map(signature).collect()
}

/// When systemd merged the extensions of a class that are merged now.
fn merge_time(host: &Host, class: ExtensionClass) -> Result<ChangeTime, NotTold> {
    for hierarchy in class.hierarchies() {
        let marker = format!("{hierarchy}/.systemd-{}/dev", class.word());
        if let Some(found) = host.look_at(&marker)? {
            return Ok((found.mtime(), found.mtime_nsec()));
        }
    }
    Err(NotTold::NoMergeTime)
}

/// Name of the only file in a directory of release files that may have any; `None` if there is none
/// or there are several.
fn renamed(directory: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let mut value = [0; 8];
        let is_free = getxattr(entry.path(), STRICT, &mut value[..]).is_ok_and(|len| {
            matches!(
                value.get(..len),
                Some(b"0" | b"no" | b"false" | b"off" | b"n" | b"f")
            )
        });
        if name.starts_with("extension-release.") && is_free {
            found.push(name);
        }
    }
    Ok(found.pop().filter(|_| found.is_empty()))
}
