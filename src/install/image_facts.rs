//! The facts about an image that are read in its written slot. The daemon may not mount, so a process
//! of its own reads them, in a unit like that of the image's postinst, and before that one.
//!
//! ```text
//!  systemd runs:  daemon ── StartTransientUnit ─▶ [LOOKER: mounts the slot for itself, looks] ── JSON ─▶ daemon
//!  else:          daemon: mounts the slot, looks, unmounts it
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::postinstall::NO_SCRIPT;
use super::{PostinstError, attempt::blocking};
use crate::extension::{CertificateDirectory, image_certificates, path_in_image};
use crate::host::Host;
use crate::host::mount::{MountError, Mounted};
use crate::host::subprocess::Subprocess;
use crate::image::{OS_RELEASE, systemd_version};

/// The name by which the daemon's program becomes the looker. It is told the slot's device, then
/// absolute paths that are to be looked up in the image, and prints [`ImageFacts`] as JSON.
pub const LOOKER: &str = "update-engine-look-at-image";

/// The looker's unit. Another one than the script's: systemd may not have forgotten that when the
/// script is to be started.
const UNIT: &str = "update-engine-look-at-image.service";

/// Mounting and reading two files.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Longest file that is read of the image, in bytes.
const LONGEST: u64 = 16 << 10;

/// Paths that are looked up at most; nobody has so many extensions.
const MOST_PATHS: usize = 64;

/// What an image says of itself. What can't be read is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageFacts {
    /// Contents of its `/usr/lib/os-release`.
    pub os_release: String,
    /// Contents of its `/usr/share/flatcar/release`.
    pub release: String,
    /// Version of its systemd.
    pub systemd: Option<u32>,
    /// Those of the paths asked for that it doesn't have.
    pub missing: Vec<PathBuf>,
    /// Its certificates for signatures of extensions' images; none if they can't be told.
    pub certificates: Option<Vec<CertificateDirectory>>,
}

impl ImageFacts {
    /// Of the image mounted at `image`, on the node `host`.
    #[must_use]
    pub fn of(host: &Host, image: &Path, paths: &[PathBuf]) -> Self {
        let inside = |path: &str| {
            let found = path_in_image(host, image, &Path::new("/usr").join(path));
            // What lies elsewhere is the running system's.
            found.ok().flatten().filter(|found| found.starts_with(image))
        };
        let text = |path: &str| {
            let text = inside(path).and_then(|path| read(&path).ok());
            String::from_utf8_lossy(&text.unwrap_or_default()).into_owned()
        };
        let is_missing = |path: &&PathBuf| matches!(path_in_image(host, image, path), Ok(None));
        Self {
            os_release: text(OS_RELEASE),
            release: text("share/flatcar/release"),
            systemd: systemd_version(|path| inside(path).iter().flat_map(|path| names(path)).collect()),
            missing: paths
                .iter()
                .take(MOST_PATHS)
                .filter(is_missing)
                .cloned()
                .collect(),
            certificates: image_certificates(host, image),
        }
    }

    /// Of the image in the slot `device`, which is mounted for the time of the look.
    ///
    /// # Errors
    /// [`MountError`].
    pub fn of_slot(host: &Host, device: &Path, paths: &[PathBuf]) -> Result<Self, MountError> {
        match Mounted::new(device) {
            Ok(mounted) => {
                let facts = Self::of(host, mounted.path(), paths);
                mounted.unmount()?;
                Ok(facts)
            }
            // The kernel won't mount one file system twice: the new image is the running one.
            Err(MountError::AlreadyMounted { .. }) => Ok(Self::of(host, &host.path("/usr"), paths)),
            Err(error) => Err(error),
        }
    }
}

/// Looks into the sealed slot `device`.
///
/// # Errors
/// If it can't be mounted, or the looker doesn't say what it saw.
pub(super) async fn look(
    host: &Host,
    device: &Path,
    paths: Vec<PathBuf>,
    cancel: &CancellationToken,
) -> Result<ImageFacts, PostinstError> {
    if !host.has_systemd() {
        let (host, device) = (host.clone(), device.to_owned());
        let facts = blocking(move || ImageFacts::of_slot(&host, &device, &paths)).await;
        return facts.map_err(PostinstError::Mount);
    }
    let program = std::env::current_exe().map_err(PostinstError::Program)?;
    let looker = Subprocess::new(&program, TIME_LIMIT).called(LOOKER).in_unit(UNIT);
    let looker = paths
        .iter()
        .take(MOST_PATHS)
        .fold(looker.arg(device), Subprocess::arg);
    let finished = looker.run_unlogged(cancel).await?;
    let said = finished.output.to_string();
    let last = said.lines().next_back().unwrap_or_default();
    match (finished.status.code(), serde_json::from_str(last)) {
        (Some(0), Ok(facts)) => Ok(facts),
        (code, _) => Err(PostinstError::Looker {
            said: match code {
                Some(code) if code == i32::from(NO_SCRIPT) => last.to_owned(),
                _ => format!("{}: {last:.200}", finished.status),
            },
        }),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    // A pipe there would keep us waiting; an image with one is as good as one without the file.
    if fs::metadata(path)?.is_file() {
        File::open(path)?.take(LONGEST).read_to_end(&mut contents)?;
    }
    Ok(contents)
}

/// Names in a directory; none if it can't be read.
fn names(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::extension::CertificateFile;

    #[test]
    fn an_image_is_looked_at_without_following_it_out_of_itself() {
        let directory = tempfile::tempdir().unwrap();
        let (image, host) = (directory.path().join("image"), Host::new(directory.path()));
        let write = |path: &str, text: &str| {
            let path = image.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("lib/os-release", "ID=flatcar\n");
        write("lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so", "");
        write("share/flatcar/sysext/docker.raw", "");
        let asked = [
            "/usr/share/flatcar/sysext/docker.raw",
            "/usr/share/flatcar/sysext/podman.raw",
        ];
        let facts = ImageFacts::of(&host, &image, &asked.map(PathBuf::from));
        assert_eq!(
            facts,
            ImageFacts {
                os_release: "ID=flatcar\n".to_owned(),
                release: String::new(),
                systemd: Some(257),
                missing: vec![asked[1].into()],
                certificates: Some(vec![CertificateDirectory::new(); 2]),
            }
        );
        // A link out of it leads to the running system's.
        fs::remove_file(image.join("lib/os-release")).unwrap();
        fs::create_dir_all(directory.path().join("opt")).unwrap();
        fs::write(directory.path().join("opt/os-release"), "ID=running\n").unwrap();
        std::os::unix::fs::symlink("/opt/os-release", image.join("lib/os-release")).unwrap();
        assert_eq!(ImageFacts::of(&host, &image, &[]).os_release, "");
        let file = |name: &str, file| (name.to_owned(), file);
        let certificates = CertificateDirectory::from([
            file("a.crt", CertificateFile::Hides),
            file("b.crt", CertificateFile::Certificate("MAA=".to_owned())),
            file("c.crt", CertificateFile::NotTold),
        ]);
        let facts = ImageFacts {
            certificates: Some(vec![certificates]),
            ..facts
        };
        let json = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<ImageFacts>(&json).unwrap(), facts);
    }

    #[test]
    fn an_image_that_says_nothing_has_no_facts() {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::new(directory.path());
        let facts = ImageFacts::of(&host, &directory.path().join("nowhere"), &[]);
        let certificates = facts.certificates.clone();
        assert_eq!(certificates, Some(vec![CertificateDirectory::new(); 2]));
        let rest = ImageFacts {
            certificates: None,
            ..facts
        };
        assert_eq!(rest, ImageFacts::default());
    }
}
