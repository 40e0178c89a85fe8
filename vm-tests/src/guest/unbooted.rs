//! Release that is offered and never booted: an image of a few MiB with what the daemon looks at and
//! the postinst that it runs, a hash tree behind it, and the beginning of a kernel.
//!
//! Its update takes an emulated processor a second, that of a whole release half a minute.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use payload_format::MajorVersion;
use payload_format::writer::{FullPayload, RsaSigner};

use super::release::{POSTINST, Release, change_os_release};
use super::{RootHash, Workshop, filesystem, hash_tree};
use crate::architecture::Architecture;
use crate::files;

/// What of a release doesn't fit the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Everything fits.
    None,
    /// Its `VERSION_ID`, which the nodes' extensions don't have.
    Extensions,
    /// Its board, by its os-release, which is also in the payload's manifest.
    Board,
    /// Its board, by its release file alone.
    BoardOfReleaseFile,
    /// Its kernel, which belongs to another image.
    Kernel,
}

/// Bytes of the file system.
const LEN: u64 = 4 << 20;
/// Bytes of the kernel.
const KERNEL_LEN: usize = 64 << 10;

impl Workshop {
    /// Makes a release that is not to be booted in `directory`, all but its payload.
    pub(crate) fn unbooted(&self, directory: &Path, version: &str, misfit: Misfit) -> Result<Release> {
        let release = self.release_in(directory, version);
        let tree = tempfile::tempdir_in(directory)?;
        let at = |path: &str| tree.path().join(path);
        let architecture = self.architecture.debian();
        let os_release = files::read(&self.packages.userland().join("usr/lib/os-release"))?;
        let mut os_release = String::from_utf8(os_release).context("os-release is no text")?;
        if misfit == Misfit::Board {
            os_release = format!("{os_release}FLATCAR_BOARD={architecture}-generic\n");
        }
        files::write(&at("lib/os-release"), os_release.as_bytes())?;
        if misfit == Misfit::Extensions {
            change_os_release(&at("lib/os-release"))?;
        }
        let board = match misfit {
            Misfit::BoardOfReleaseFile => "generic",
            _ => "usr",
        };
        let identity =
            format!("FLATCAR_RELEASE_VERSION={version}\nFLATCAR_RELEASE_BOARD={architecture}-{board}\n");
        files::write(&at("share/flatcar/release"), identity.as_bytes())?;
        // By its name the version of an image's systemd is told.
        let systemd = format!(
            "lib/{}/systemd/libsystemd-shared-{}.so",
            self.architecture.triplet(),
            self.packages.debian.systemd()
        );
        files::write(&at(&systemd), b"")?;
        files::program(&at("postinst"), POSTINST)?;
        filesystem::image(&release.image, tree.path(), "ext2", LEN)?;
        let mut image = files::read(&release.image)?;
        let mut root_hash = hash_tree::append(&mut image);
        files::write(&release.image, &image)?;
        if misfit == Misfit::Kernel {
            root_hash[0] ^= 1;
        }
        files::write(&release.kernel, &kernel(self.architecture, root_hash)?)?;
        if misfit == Misfit::Kernel {
            self.payload_of_any_kernel(&release)
                .context("cannot make a payload")?;
        }
        Ok(release)
    }

    /// Makes a payload as other generators do, which don't look whether kernel and image belong together.
    fn payload_of_any_kernel(&self, release: &Release) -> Result<()> {
        let key = String::from_utf8(files::read(&self.private_key)?)?;
        let signer = RsaSigner::from_pem(&key)?;
        let (mut image, mut kernel) = (File::open(&release.image)?, File::open(&release.kernel)?);
        let payload = FullPayload::new(&mut image)
            .with_kernel(&mut kernel)
            .with_version(MajorVersion::V2)
            .with_signer(&signer);
        let mut out = File::create(&release.payload)?;
        payload.write(&mut tempfile::tempfile()?, &mut out, &mut |_| {})?;
        Ok(())
    }
}

/// The beginning of a kernel that insists on a `/usr` with this root hash.
fn kernel(architecture: Architecture, root_hash: [u8; 32]) -> Result<Vec<u8>> {
    let mut kernel = vec![0x90; KERNEL_LEN];
    let magic: &[(usize, &[u8])] = match architecture {
        Architecture::Amd64 => &[(0x1fe, &[0x55, 0xaa]), (0x202, b"HdrS")],
        Architecture::Arm64 | Architecture::Arm64Pages16K => &[(0x38, b"ARM\x64")],
    };
    for (at, bytes) in magic.iter().copied() {
        kernel[at..at + bytes.len()].copy_from_slice(bytes);
    }
    RootHash::new(root_hash).write_into(&mut kernel, architecture)?;
    Ok(kernel)
}
