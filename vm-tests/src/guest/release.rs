//! A release: what one update replaces. An image for the slot, a kernel, and the payload that carries both.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use payload_format::{Compression, MajorVersion};
use update_engine::payload::{Ingredients, generate};

use super::conduct::Conduct;
use super::{Workshop, filesystem, initrd, userland};
use crate::command::{run, tool};
use crate::files;

const POSTINST: &[u8] = include_bytes!("../../guest/postinst");
/// The node's application.
const APP: &[u8] = b"#!/bin/sh\necho 'the application runs'\n";
/// The same, broken.
const BROKEN_APP: &[u8] = b"#!/bin/sh\necho 'the application misses its data' >&2\nexit 7\n";
/// What makes a slot healthy, and for how many seconds.
const SETTINGS: &str = "GROUP=stable\nSERVER=disabled\nHEALTH_UNITS=vm-app\nHEALTH_SETTLE=5\n";
/// Seconds in which a slot that is broken has to become healthy.
const DEADLINE: &str = "HEALTH_DEADLINE=15\n";
/// Bytes of a slot's image.
const IMAGE_LEN: u64 = 16 << 20;

/// A release, ready to be installed or offered.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    /// Its version.
    pub(crate) version: String,
    /// Filesystem for a slot.
    pub(crate) image: PathBuf,
    /// Kernel and initrd as one EFI application.
    pub(crate) kernel: PathBuf,
    /// Both, signed.
    pub(crate) payload: PathBuf,
}

impl Workshop {
    /// Makes a release in `directory`.
    pub(crate) fn release(&self, directory: &Path, version: &str, conduct: Conduct) -> Result<Release> {
        let release = Release {
            version: version.to_owned(),
            image: directory.join(format!("usr-{version}.img")),
            kernel: directory.join(format!("vmlinuz-{version}")),
            payload: directory.join(format!("payload-{version}")),
        };
        self.slot_image(directory, &release, conduct)?;
        self.kernel(&release, conduct)?;
        let ingredients = Ingredients {
            old: None,
            further: Vec::new(),
            image: release.image.clone(),
            kernel: Some(release.kernel.clone()),
            version: MajorVersion::V1,
            compressions: vec![Compression::Bzip2],
            private_keys: vec![self.private_key.clone()],
        };
        generate(&ingredients, &release.payload).context("cannot make a payload")?;
        Ok(release)
    }

    fn slot_image(&self, directory: &Path, release: &Release, conduct: Conduct) -> Result<()> {
        let tree = tempfile::tempdir_in(directory)?;
        let at = |path: &str| tree.path().join(path);
        userland::link_into_slot(self.packages.userland(), tree.path())?;
        let identity = format!(
            "FLATCAR_RELEASE_VERSION={}\nFLATCAR_RELEASE_BOARD=amd64-usr\n",
            release.version
        );
        files::write(&at("share/flatcar/release"), identity.as_bytes())?;
        let (app, deadline) = match conduct {
            Conduct::Unhealthy => (BROKEN_APP, DEADLINE),
            Conduct::Good | Conduct::Panics | Conduct::Hangs => (APP, ""),
        };
        let settings = format!("{SETTINGS}{deadline}");
        files::write(&at("share/flatcar/update.conf"), settings.as_bytes())?;
        let key = files::read(&self.public_key)?;
        files::write(&at("share/update_engine/update-payload-key.pub.pem"), &key)?;
        files::program(&at("share/vm/app"), app)?;
        files::program(&at("postinst"), POSTINST)?;
        filesystem::image(&release.image, tree.path(), "ext2", IMAGE_LEN)
    }

    fn kernel(&self, release: &Release, conduct: Conduct) -> Result<()> {
        let drivers = self.packages.modules()?;
        let initrd = initrd::image(
            &self.cache,
            self.packages.userland(),
            &drivers,
            &release.version,
            conduct,
        )?;
        let mut join = tool("objcopy");
        // The stub looks for these sections; the addresses only have to lie behind its own and apart.
        join.arg("--add-section")
            .arg(section(".linux", &self.packages.kernel()?))
            .args(["--change-section-vma", ".linux=0x2000000", "--add-section"])
            .arg(section(".initrd", &initrd))
            .args(["--change-section-vma", ".initrd=0x4000000"])
            .arg(self.packages.stub())
            .arg(&release.kernel);
        run(&mut join).map(drop)
    }
}

fn section(name: &str, file: &Path) -> String {
    format!("{name}={}", file.display())
}
