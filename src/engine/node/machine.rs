//! The machine: its files, configuration and disk, as they are at the moment of each use.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::SecureRandom as _;

use crate::config::{Config, HealthSettings};
use crate::disk::{DiskError, SlotDisk, SlotName, kernel_path, missing_kernel};
use crate::extension::{ExtensionStore, ExtensionStoreError, RunningSystem};
use crate::host::{Host, Unreadable};
use crate::install::PostinstMode;
use crate::journal::chain;
use crate::policy::Seed;
use crate::status::UnixTime;
use crate::store::{Key, PREFS_DIR, Prefs};

/// The directory of our records.
pub(super) const STATE: &str = "/var/lib/update_engine";

/// What the command line fixes for the daemon's life.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The machine, or the directory that stands for it.
    pub host: Host,
    /// The disk that holds the slots.
    pub disk: DiskChoice,
    /// Whether images' postinst scripts are run.
    pub postinst: PostinstMode,
}

/// Which disk holds the slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskChoice {
    /// The one from which `/usr` is mounted.
    OfUsr,
    /// Named on the command line.
    Named {
        /// A device or an image.
        path: PathBuf,
        /// The slot that runs.
        running: SlotName,
    },
}

/// The machine. Configuration, keys and identity are read for each use: operators edit and
/// bind-mount them while the daemon runs. All that it remembers is what it last read.
pub(super) struct Machine {
    settings: Settings,
    prefs: Prefs,
    /// Never locked across a read of a file.
    last_read: Mutex<LastRead>,
}

#[derive(Default)]
struct LastRead {
    /// The version that runs, as configuration last said.
    version: String,
    /// Of which contents of the configuration the journal was told what is odd in them, and of the
    /// machine's id.
    warned: Option<(u64, Option<String>)>,
}

impl Machine {
    pub(super) fn new(settings: Settings) -> Self {
        let prefs = Prefs::new(settings.host.path(PREFS_DIR));
        Self {
            settings,
            prefs,
            last_read: Mutex::default(),
        }
    }

    pub(super) const fn host(&self) -> &Host {
        &self.settings.host
    }

    pub(super) const fn postinst(&self) -> PostinstMode {
        self.settings.postinst
    }

    /// The original's preferences.
    pub(super) const fn prefs(&self) -> &Prefs {
        &self.prefs
    }

    /// The disk that holds the slots, found anew.
    pub(super) fn disk(&self) -> Result<SlotDisk, DiskError> {
        match &self.settings.disk {
            DiskChoice::OfUsr => SlotDisk::discover(self.host()),
            DiskChoice::Named { path, running } => SlotDisk::open(path, *running),
        }
    }

    /// The configuration as it is now. What is odd about it is told once for each of its contents.
    pub(super) fn config(&self) -> Result<Config, Unreadable> {
        let config = Config::load(|path| self.host().read(path))?;
        let machine_id = self.host().machine_id_warning();
        let seen = (config.fingerprint, machine_id.clone());
        let is_new = self.last_read(|last| {
            last.version.clone_from(&config.version);
            last.warned.replace(seen.clone()).as_ref() != Some(&seen)
        });
        if is_new {
            for warning in config.warnings().into_iter().chain(machine_id) {
                tracing::warn!("{warning}");
            }
        }
        Ok(config)
    }

    pub(super) fn health_settings(&self) -> Result<HealthSettings, Unreadable> {
        HealthSettings::load(|path| self.host().read(path))
    }

    /// The version that runs; empty if nobody knows. It stays what it was where configuration can't
    /// be read any more.
    pub(super) fn running_version(&self) -> String {
        match self.config() {
            Ok(config) => config.version,
            Err(_) => self.last_version(),
        }
    }

    /// The version that runs, as configuration last said.
    pub(super) fn last_version(&self) -> String {
        self.last_read(|last| last.version.clone())
    }

    /// Where the kernel of `slot` lies.
    pub(super) fn kernel(&self, slot: SlotName) -> Result<String, Unreadable> {
        kernel_path(self.host(), slot)
    }

    /// Why the kernel of `slot` can't be relied on, if it can't.
    pub(super) fn missing_kernel(&self, slot: SlotName) -> Option<String> {
        missing_kernel(self.host(), slot)
    }

    /// A preference. One that can't be read counts as forgotten: it is our own, and nobody could
    /// put it right.
    pub(super) fn recall(&self, key: Key) -> Option<String> {
        self.prefs.get(key).unwrap_or_else(|error| {
            tracing::warn!("{} counts as forgotten: {}", key.name(), chain(&error));
            None
        })
    }

    fn last_read<T>(&self, look: impl FnOnce(&mut LastRead) -> T) -> T {
        // Plain values: a panic elsewhere cannot have left them half written.
        look(&mut self.last_read.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the clock of the wall shows.
pub(super) fn unix_time() -> UnixTime {
    // A clock before 1970 is a clock that was never set.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Fresh randomness for one decision.
pub(super) fn fresh_seed() -> Seed {
    let mut bytes = [0; 8];
    // Without any the decision is the same on every such machine: worse jitter, nothing else.
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::warn!("the system gives no randomness");
    }
    Seed(u64::from_ne_bytes(bytes))
}

/// Removes of system extensions what an attempt left half done that a cut has ended.
pub(super) fn clear_extensions(machine: &Machine) {
    change_store(machine, |store, _| store.clear());
}

/// Removes all system extensions but those of `running`, since the other slot does not boot.
pub(super) fn drop_other_extensions(machine: &Machine, running: SlotName) {
    change_store(machine, |store, version| {
        let slot = running.to_string();
        let running = RunningSystem { slot: &slot, version };
        store.prune(None, running)
    });
}

fn change_store(
    machine: &Machine,
    change: impl FnOnce(&ExtensionStore, &str) -> Result<(), ExtensionStoreError>,
) {
    let config = match machine.config() {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!("extensions of no slot may be left: {}", chain(&error));
            return;
        }
    };
    if config.extensions.wanted.is_empty() {
        return;
    }
    let directory = machine.host().path(&config.extensions.directory);
    if let Err(error) = change(&ExtensionStore::new(directory), &config.version) {
        tracing::warn!("extensions of no slot may be left: {}", chain(&error));
    }
}
