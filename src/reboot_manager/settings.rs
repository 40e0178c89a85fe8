//! All settings of a manager, read once at its start.

use std::path::PathBuf;
use std::time::Duration;

use super::event::Pause;
use super::record_file::{LeftRecord, RecordFile};
use super::state::AfterRollback;
use super::window::{WindowFault, Windows};
use crate::host::Host;
use crate::journal::chain;
use crate::reboot_lock::{Lock, ManagerValues, SettingsFault, Strategy};

/// Pauses after failed tries: locksmith's.
const BACKOFF: [u64; 6] = [10, 20, 40, 80, 160, 300];
/// The pause that `FleetLock` wants between two tries.
const FLEET_LOCK_RETRY: u64 = 300;
const MOST_GRACE: u64 = 86_400;

/// A setting that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ManagerFault {
    /// Of the lock, or of the files.
    #[error(transparent)]
    Lock(#[from] SettingsFault),
    /// Of the windows.
    #[error(transparent)]
    Window(#[from] WindowFault),
}

/// How fast pauses pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagerPace {
    /// In their time.
    Real,
    /// A hundred times as fast: for tests, on a machine that is a directory.
    Hurried,
}

/// A manager's settings.
#[derive(Debug)]
pub struct ManagerSettings {
    /// The machine.
    pub host: Host,
    /// How reboots are agreed upon.
    pub strategy: Strategy,
    /// The lock of that strategy.
    pub lock: Lock,
    /// When the node may reboot.
    pub windows: Windows,
    /// What becomes of the lock after a rollback.
    pub after_rollback: AfterRollback,
    /// What logged-in users are given.
    pub grace: Duration,
    /// Where metrics go.
    pub metrics: Option<PathBuf>,
    /// How fast pauses pass.
    pub pace: ManagerPace,
}

impl ManagerSettings {
    /// Whether `REBOOT_STRATEGY=off`; the other settings aren't looked at. Blocks.
    ///
    /// # Errors
    /// [`ManagerFault::Lock`] if the strategy is none, or a file can't be read.
    pub fn is_off(host: &Host) -> Result<bool, ManagerFault> {
        Ok(ManagerValues::read(host)?.strategy()? == Strategy::Off)
    }

    /// Reads them. Blocks.
    ///
    /// # Errors
    /// [`ManagerFault`].
    pub fn read(host: Host, pace: ManagerPace) -> Result<Self, ManagerFault> {
        let values = ManagerValues::read(&host)?;
        let strategy = values.strategy()?;
        values.none_left_to_locksmith(&host, strategy)?;
        let lock = values.lock(&host, strategy)?;
        // Locksmith's newer names come first.
        let window = |kind: &str| {
            let newer = values.find(&format!("LOCKSMITHD_REBOOT_WINDOW_{kind}"));
            newer.unwrap_or_else(|| values.get(&format!("REBOOT_WINDOW_{kind}")))
        };
        let windows = Windows::read(
            &window("START"),
            &window("LENGTH"),
            &values.get("REBOOT_WINDOWS"),
            &values.get("REBOOT_TIME_ZONE"),
        )?;
        let after_rollback = match values.get("AFTER_ROLLBACK").as_str() {
            "hold" => AfterRollback::Hold,
            "release" => AfterRollback::Release,
            other => return Err(SettingsFault::AfterRollback(other.to_owned()).into()),
        };
        let grace = values.get("REBOOT_USER_GRACE");
        let seconds = grace.parse().ok().filter(|seconds| *seconds <= MOST_GRACE);
        let grace = Duration::from_secs(seconds.ok_or(SettingsFault::Number {
            key: "REBOOT_USER_GRACE",
            value: grace,
        })?);
        if let Some(shortest) = windows.shortest().filter(|shortest| *shortest <= grace) {
            tracing::warn!(
                "a reboot window of {} s is not longer than REBOOT_USER_GRACE, {} s: in it the node does not reboot while users \
                 are logged in",
                shortest.as_secs(),
                grace.as_secs()
            );
        }
        Ok(Self {
            metrics: values.find("REBOOT_METRICS_FILE").map(|path| host.path(&path)),
            host,
            strategy,
            lock,
            windows,
            after_rollback,
            grace,
            pace,
        })
    }

    /// How long a pause lasts.
    pub(super) fn pause(&self, pause: Pause) -> Duration {
        let seconds = match pause {
            Pause::Backoff(_) if self.strategy == Strategy::FleetLock => FLEET_LOCK_RETRY,
            Pause::Backoff(tries) => BACKOFF[usize::from(tries.clamp(1, 6)) - 1],
            Pause::Veto | Pause::Look => 600,
            Pause::Retry => 60,
            // systemd ends a shutdown that takes 30 minutes.
            Pause::Shutdown => 35 * 60,
        };
        let whole = Duration::from_secs(seconds);
        match (self.pace, pause) {
            // So that nodes that were refused together don't come back together.
            (ManagerPace::Real, Pause::Backoff(_)) => whole + whole.mul_f64(0.1 * jitter()),
            (ManagerPace::Real, _) => whole,
            (ManagerPace::Hurried, _) => whole / 100,
        }
    }
}

/// For a manager that isn't to run any more: what an earlier one may hold stays held. Blocks.
pub fn warn_of_a_lock_left_behind(host: &Host) {
    match RecordFile::open(host, "") {
        Ok((_, LeftRecord::Nothing)) => {}
        Ok((file, LeftRecord::Hold(_) | LeftRecord::Lost)) => tracing::warn!(
            "this node may hold the reboot lock since {} (Unix time): release it by locksmithctl unlock, or with the \
             strategy that took it by update_engine_client reboot-lock release",
            file.since().unwrap_or_default()
        ),
        Err(error) => tracing::warn!("whether this node may hold the reboot lock: {}", chain(&error)),
    }
}

/// From 0 to 1, another one each time.
fn jitter() -> f64 {
    let mut bytes = [0; 4];
    // A system without random numbers has no jitter.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_window_stands_in_a_drop_in_of_locksmith_alone_is_not_rebooted_at_any_time() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let read = || ManagerSettings::read(Host::new(root.path()), ManagerPace::Real);
        let window = "REBOOT_WINDOW_START=04:00\nREBOOT_WINDOW_LENGTH=1h\nREBOOT_TIME_ZONE=UTC\n";
        assert_eq!(read().unwrap().windows.shortest(), None);
        let environment = window.replace("REBOOT_WINDOW", "Environment=REBOOT_WINDOW");
        write(
            "etc/systemd/system/locksmithd.service.d/window.conf",
            &environment,
        );
        let told = chain(&read().unwrap_err());
        assert!(
            told.contains("REBOOT_WINDOW_START stands in /etc/systemd/system/locksmithd"),
            "{told}"
        );
        write("etc/flatcar/update.conf", window);
        assert!(read().unwrap().windows.shortest().is_some());
    }
}
