//! What runs in the machines: Debian's kernel and userland, our daemon, and slots made for a story.
//!
//! ```text
//!  Debian packages ─▶ userland ─▶ root partition  /system: what Debian has below /usr
//!        │                 ▲                      /usr: where the slot is mounted
//!        │           daemon, client, units, D-Bus policy
//!        ├─▶ kernel + initrd ─▶ one EFI file ─▶ vmlinuz-a|b     ┐ a release: what an update
//!        └─▶ busybox, findfs       slot: release, key, postinst ┘ replaces
//! ```
//! The slot holds what tells one release from another, and links to the root partition for the rest:
//! an update moves kilobytes, not a distribution. For the daemon nothing differs from a Flatcar node: `/usr`
//! is a read-only mount of the slot's partition.
//!
//! Everything is kept under `target/vm-tests` and made once; [`Workshop::open`] makes what is missing.

mod conduct;
mod cpio;
mod filesystem;
mod initrd;
mod modules;
mod packages;
mod release;
mod units;
mod userland;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

pub(crate) use self::conduct::Conduct;
pub(crate) use self::release::Release;

use self::packages::Packages;
use crate::command::{run, tool};

/// The place where guests are made.
pub(crate) struct Workshop {
    cache: PathBuf,
    packages: Packages,
    /// Filesystem of partition 9.
    pub(crate) root_image: PathBuf,
    /// Signs payloads.
    pub(crate) private_key: PathBuf,
    public_key: PathBuf,
}

impl Workshop {
    /// Makes what every guest shares: on the first run of a machine this fetches packages (minutes), later
    /// it only looks whether the daemon has changed.
    ///
    /// # Errors
    /// When a tool is missing, named with its package, or fails.
    pub(crate) fn open(repository: &Path) -> Result<Self> {
        let cache = repository.join("target/vm-tests");
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let packages = Packages::get(&cache)?;
        let (private_key, public_key) = keys(&cache)?;
        let root_image = userland::image(repository, &cache, &packages)?;
        Ok(Self {
            cache,
            packages,
            root_image,
            private_key,
            public_key,
        })
    }

    /// Where logs and disks of a story go.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.cache.join("runs")
    }
}

/// A key pair of this cache's own: it signs what never leaves this machine.
fn keys(cache: &Path) -> Result<(PathBuf, PathBuf)> {
    let (private, public) = (cache.join("key.pem"), cache.join("key.pub.pem"));
    if !public.exists() {
        run(tool("openssl").args(["genrsa", "-out"]).arg(&private).arg("2048"))?;
        let mut extract = tool("openssl");
        extract.args(["rsa", "-pubout", "-in"]).arg(&private);
        crate::files::write(&public, run(&mut extract)?.as_bytes())?;
    }
    Ok((private, public))
}

/// Names a cached file by what it is made of, so that nothing stale is ever used.
fn fingerprint(parts: &[&[u8]]) -> String {
    let mut sum = Sha256::new();
    for part in parts {
        sum.update(part.len().to_le_bytes());
        sum.update(part);
    }
    let mut head = [0; 8];
    head.copy_from_slice(&sum.finalize()[..8]);
    format!("{:016x}", u64::from_be_bytes(head))
}
