//! Guest system of the machines: Debian's kernel and userland, our daemon, and slots made for a
//! story.
//!
//! ```text
//!  Debian packages ─┬─▶ /etc, /var ─▶ root partition ◀─ extensions
//!                   ├─▶ /usr ─▶ slot ◀─ daemon, client, units, D-Bus policy, key, postinst  ┐ a release: what an
//!                   └─▶ kernel + initrd ─▶ one EFI file ─▶ vmlinuz-a|b                      ┘ update replaces
//! ```
//! For the daemon nothing differs from a Flatcar node: `/usr` is a read-only mount of the slot's
//! partition, which holds all of it, and on top of it lies what systemd merges there.
//!
//! Packages are kept under `target/vm-tests` and fetched once; [`Workshop::open`] makes what is
//! missing.

mod conduct;
mod cpio;
mod daemon;
mod extension;
mod filesystem;
mod handover;
mod hang;
mod hash_tree;
mod initrd;
mod modules;
mod packages;
mod release;
mod root_hash;
mod systemd_initrd;
mod unbooted;
mod units;
mod userland;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest as _, Sha256};

pub(crate) use self::conduct::Conduct;
pub(crate) use self::daemon::Version as Daemon;
pub(crate) use self::extension::{SETTING, UNIT};
pub(crate) use self::handover::{OPEN_TIMEOUT, Takeover};
pub(crate) use self::hang::{Deadline, Hang, SECONDS as HANG_DEADLINE};
pub(crate) use self::packages::Debian;
pub(crate) use self::release::{Initrd, Recipe, Release};
pub(crate) use self::root_hash::RootHash;
pub(crate) use self::unbooted::Misfit;

use self::packages::Packages;
use crate::architecture::Architecture;
use crate::command::{run, tool};

/// Workshop that makes guests, with its cache.
pub(crate) struct Workshop {
    /// Processor of its guests.
    pub(crate) architecture: Architecture,
    repository: PathBuf,
    cache: PathBuf,
    packages: Packages,
    /// Filesystem of partition 9.
    pub(crate) root_image: PathBuf,
    /// Signs payloads.
    pub(crate) private_key: PathBuf,
    public_key: PathBuf,
    todays: daemon::Daemon,
    /// Made when a story wants it.
    earlier: Mutex<Option<daemon::Daemon>>,
    /// Likewise.
    reboot_manager: Mutex<Option<daemon::Daemon>>,
    /// Keeps other runs off the cache: each makes the daemon's files anew.
    _lock: Flock<File>,
}

impl Workshop {
    /// Makes what every guest shares: on the first run of a machine this fetches packages
    /// (minutes), later it only checks whether the daemon has changed.
    ///
    /// # Errors
    /// When a tool is missing, named with its package, or fails.
    pub(crate) fn open(repository: &Path, architecture: Architecture, debian: Debian) -> Result<Self> {
        let mut cache = repository.join("target/vm-tests");
        if architecture != Architecture::Amd64 {
            cache.push(architecture.debian());
        }
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let lock = lock(&cache)?;
        let packages = Packages::get(&cache, architecture, debian)?;
        let (private_key, public_key) = keys(&cache)?;
        Ok(Self {
            architecture,
            repository: repository.to_owned(),
            root_image: userland::image(&cache, &packages)?,
            todays: daemon::Daemon::todays(repository, &cache, architecture)?,
            earlier: Mutex::new(None),
            reboot_manager: Mutex::new(None),
            _lock: lock,
            cache,
            packages,
            private_key,
            public_key,
        })
    }

    /// The files of a daemon.
    fn daemon(&self, version: Daemon) -> Result<daemon::Daemon> {
        if version == Daemon::Todays {
            return Ok(self.todays.clone());
        }
        self.once(&self.earlier, daemon::Daemon::earlier)
    }

    /// The files of the reboot manager.
    fn reboot_manager(&self) -> Result<daemon::Daemon> {
        self.once(&self.reboot_manager, daemon::Daemon::reboot_manager)
    }

    /// What is in `kept`, made by `make` if nothing is yet.
    fn once(
        &self,
        kept: &Mutex<Option<daemon::Daemon>>,
        make: fn(&Path, &Path, Architecture) -> Result<daemon::Daemon>,
    ) -> Result<daemon::Daemon> {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let daemon = match kept.take() {
            Some(daemon) => daemon,
            None => make(&self.repository, &self.cache, self.architecture)?,
        };
        Ok(kept.insert(daemon).clone())
    }

    /// Directory for logs and disks of stories.
    pub(crate) fn scratch(&self) -> PathBuf {
        let name = match self.packages.debian {
            Debian::Bookworm => "runs-debian-12",
            Debian::Trixie => "runs",
        };
        self.cache.join(name)
    }
}

/// The cache's lock, for which another run is waited for.
fn lock(cache: &Path) -> Result<Flock<File>> {
    let path = cache.join("lock");
    let context = || format!("cannot lock {}", path.display());
    let file = File::create(&path).with_context(context)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, Errno::EWOULDBLOCK)) => {
            eprintln!(
                "vm-tests: another run uses {}: waiting for its end",
                cache.display()
            );
            let lock = Flock::lock(file, FlockArg::LockExclusive);
            lock.map_err(|(_, error)| error).with_context(context)
        }
        Err((_, error)) => Err(error).with_context(context),
    }
}

/// Key pair of this cache: it signs payloads that never leave this machine.
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

/// Name of a cached file by the hash of its inputs, so that a stale one is never used.
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
