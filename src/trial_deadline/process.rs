//! The keeper as a process: its memory, its control group, its signals, and threads that are waited for
//! only a limited time.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use super::facts::FactsError;
use crate::host::Host;

/// The control group that belongs to no unit: of the one hierarchy, or of systemd's among several.
const ROOT_GROUPS: [&str; 3] = [
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/systemd/cgroup.procs",
    "/sys/fs/cgroup/unified/cgroup.procs",
];

/// Leaves the control group of an initrd's unit: the system's systemd stops what it doesn't know, and the
/// processes in its group with it.
pub(super) fn leave_initrds_group(host: &Host) {
    if host.seems_run_by_systemd() {
        return;
    }
    for group in ROOT_GROUPS {
        // Opened, not made: most systems have one of them.
        if let Ok(mut group) = OpenOptions::new().write(true).open(host.path(group)) {
            let _ = group.write_all(b"0");
        }
    }
}

/// The result of `work` in a thread of its own, which is left alone if it takes longer.
pub(super) fn bounded<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FactsError> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new().spawn(move || sender.send(work()));
    thread.map_err(FactsError::Thread)?;
    receiver
        .recv_timeout(limit)
        .map_err(|_| FactsError::TimedOut(limit.as_secs()))
}

/// Signals that end other programs: whoever sends one means an orderly end.
pub(super) fn signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(SignalFd::new(&set)?)
}

/// Neither paged out nor chosen where memory runs short. Without either it works as long as the
/// machine has memory.
pub(super) fn stay_in_memory() {
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    let _ = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE);
}
