//! The reboot strategies of this machine, in their order of trial.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{RebootError, RebootStrategy};
use crate::host::Host;
use crate::host::subprocess::{Finished, Subprocess};
use crate::systemd::Systemd;

/// The file in which [`Recorded`] records a reboot.
const REBOOT: &str = "/run/update_engine/reboot";

/// By which the kernel takes what a magic key would tell it.
const SYSRQ_TRIGGER: &str = "/proc/sysrq-trigger";
/// How long the kernel may take to shut devices down before it resets.
const DEVICES_LIMIT: Duration = Duration::from_secs(10);

/// The program that orders a reboot returns at once.
const PROGRAM_LIMIT: Duration = Duration::from_secs(30);

/// Through systemd, so that units end in their order; a system without it has a program for it.
/// Below a root that only stands for a machine nothing reboots.
pub(super) fn of(host: &Host) -> Vec<Box<dyn RebootStrategy>> {
    if host.is_real() {
        vec![Box::new(Systemd), Box::new(RebootProgram)]
    } else {
        vec![Box::new(Recorded(host.clone()))]
    }
}

/// Has the kernel reset the machine. Its orderly way shuts devices down, any of which may hang or be
/// the hang: a thread then takes the way of the magic key, which asks no device.
pub(super) fn reset(host: &Host) -> io::Result<()> {
    if !host.is_real() {
        return Recorded(host.clone()).record();
    }
    let trigger = host.path(SYSRQ_TRIGGER);
    // Without a thread there is one way less.
    let _ = std::thread::Builder::new().spawn(move || reset_by_key(&trigger, DEVICES_LIMIT));
    let Err(refusal) = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_AUTOBOOT);
    reset_by_key(&host.path(SYSRQ_TRIGGER), Duration::ZERO).map_err(|_| refusal.into())
}

/// As the magic key `b` does, after `delay`: at once, whatever devices and other processors do.
fn reset_by_key(trigger: &Path, delay: Duration) -> io::Result<()> {
    std::thread::sleep(delay);
    fs::write(trigger, "b")
}

impl RebootStrategy for Systemd {
    fn reboot(&self) -> BoxFuture<'_, Result<(), RebootError>> {
        Box::pin(async { Ok(Systemd::reboot(*self).await?) })
    }
}

/// The program `reboot`.
struct RebootProgram;

impl RebootStrategy for RebootProgram {
    fn reboot(&self) -> BoxFuture<'_, Result<(), RebootError>> {
        Box::pin(async {
            let program = Subprocess::new(Path::new("reboot"), PROGRAM_LIMIT);
            match program.run(&CancellationToken::new()).await? {
                Finished { status, .. } if status.success() => Ok(()),
                Finished { status, .. } => Err(RebootError::Ended(status)),
            }
        })
    }
}

/// A file that says, below a test's root, that the machine would reboot now.
struct Recorded(Host);

impl Recorded {
    fn record(&self) -> io::Result<()> {
        let path = self.0.path(REBOOT);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        File::create(path).map(drop)
    }
}

impl RebootStrategy for Recorded {
    fn reboot(&self) -> BoxFuture<'_, Result<(), RebootError>> {
        Box::pin(async { Ok(self.record()?) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_by_one_letter_to_reset_at_once() {
        let root = tempfile::tempdir().unwrap();
        let trigger = root.path().join("sysrq-trigger");
        reset_by_key(&trigger, Duration::from_millis(1)).unwrap();
        assert_eq!(fs::read(trigger).unwrap(), b"b");
    }
}
