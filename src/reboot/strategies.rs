//! The reboot strategies of this machine, in their order of trial.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::RebootStrategy;
use crate::host::Host;
use crate::host::subprocess::{Finished, Subprocess};
use crate::journal::chain;
use crate::systemd::Systemd;

/// The file in which [`Recorded`] records a reboot.
const REBOOT: &str = "/run/update_engine/reboot";

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

/// Has the kernel reset the machine; it does so once more for a key of a console, should it refuse.
pub(super) fn reset(host: &Host) -> io::Result<()> {
    if !host.is_real() {
        return Recorded(host.clone()).record();
    }
    let Err(refusal) = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_AUTOBOOT);
    fs::write("/proc/sysrq-trigger", "b").map_err(|_| refusal.into())
}

impl RebootStrategy for Systemd {
    fn reboot(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Systemd::reboot(*self).await.map_err(|error| chain(&error)) })
    }
}

/// The program `reboot`.
struct RebootProgram;

impl RebootStrategy for RebootProgram {
    fn reboot(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let program = Subprocess::new(Path::new("reboot"), PROGRAM_LIMIT);
            match program.run(&CancellationToken::new()).await {
                Ok(Finished { status, .. }) if status.success() => Ok(()),
                Ok(Finished { status, .. }) => Err(format!("reboot ended with {status}")),
                Err(error) => Err(chain(&error)),
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
    fn reboot(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.record().map_err(|error| chain(&error)) })
    }
}
