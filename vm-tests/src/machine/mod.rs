//! Running machine: one run of QEMU, from power-on until it is reset, powered off or cut.
//!
//! ```text
//!            ┌── stdout: serial console ──▶ log file, [`Console::wait_for`]
//!   QEMU ────┼── QMP ─────────────────────▶ how it ended
//!            └── virtio port "vm.shell" ◀─▶ [`Machine::sh`]
//! ```
//! The runner listens and QEMU connects, so that being there is an event. A reset ends QEMU
//! (`-no-reboot`): the next boot is another [`Machine`], after the loader has had its say.

mod console;
mod monitor;
mod patience;
mod qemu;
mod shell;

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) use self::console::Console;
pub(crate) use self::monitor::End;

use self::monitor::Monitor;
use self::patience::Pulse;
use self::shell::Shell;
use crate::architecture::Architecture;
use crate::disk::Disk;
use crate::loader::Start;

/// Hardware of a machine, and the limit of its silence.
#[derive(Debug, Clone)]
pub(crate) struct Hardware {
    /// Its processor.
    pub(crate) architecture: Architecture,
    /// Whether it has a watchdog of its own.
    pub(crate) watchdog: bool,
    /// Whether the chipset's watchdog may reset it.
    pub(crate) chipset_watchdog: bool,
    /// Whether an emulated processor's instructions make its clock: on a busy host no time passes for
    /// the guest while it is not let run. Idle, it waits as long as its clock says.
    pub(crate) own_clock: bool,
    /// Longest silence on the console during a wait before the machine is given up.
    silence: Duration,
}

impl Hardware {
    /// Hardware of a story; a control run is likely to end in silence.
    pub(crate) fn new(architecture: Architecture, control: bool) -> Self {
        let minutes = if control { 5 } else { 10 };
        Self {
            architecture,
            watchdog: true,
            chipset_watchdog: false,
            own_clock: false,
            silence: Duration::from_secs(minutes * 60),
        }
    }
}

/// A machine that is on. Dropping it pulls the plug.
pub(crate) struct Machine {
    child: Child,
    console: Console,
    monitor: Monitor,
    shell: Shell,
}

impl Machine {
    /// Switches a machine on. Its console goes to `log`.
    pub(crate) fn start(start: &Start, disk: &Disk, hardware: &Hardware, log: &Path) -> Result<Self> {
        let sockets = tempfile::tempdir()?;
        let (monitor_at, shell_at) = (sockets.path().join("qmp"), sockets.path().join("shell"));
        let monitor = qemu::listen(&monitor_at)?;
        let shell = qemu::listen(&shell_at)?;
        let mut child = qemu::spawn(start, disk, hardware, &monitor_at, &shell_at)?;
        let Some(output) = child.stdout.take() else {
            bail!("QEMU has no console");
        };
        let pulse = Pulse::new(hardware.silence);
        let console = Console::follow(output, log, &pulse)?;
        let connected = |what: &str, listener: qemu::Listening| {
            listener
                .connected()
                .with_context(|| format!("QEMU's {what} does not connect; see {}", log.display()))
        };
        let monitor = connected("monitor", monitor).and_then(|stream| Monitor::new(stream, &pulse));
        let shell = connected("shell", shell).map(|stream| Shell::new(stream, &pulse));
        match (monitor, shell) {
            (Ok(monitor), Ok(shell)) => Ok(Self {
                child,
                console,
                monitor,
                shell,
            }),
            (Err(error), _) | (_, Err(error)) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The console.
    pub(crate) fn console(&self) -> &Console {
        &self.console
    }

    /// Runs a script as root in the machine, once it is up, and gives what it printed.
    ///
    /// # Errors
    /// When the script fails, or the machine ends or is no longer worth waiting for.
    pub(crate) fn sh(&mut self, script: &str) -> Result<String> {
        self.shell.run(script)
    }

    /// Waits until the machine ends by itself.
    pub(crate) fn end(mut self) -> Result<End> {
        let end = self.monitor.end()?;
        self.child.wait().context("QEMU can't be waited for")?;
        Ok(end)
    }

    /// Runs a script in the machine without waiting for its answer, which may never come. No other
    /// script can be run afterwards: its answer would be taken for this one's.
    pub(crate) fn order(&self, script: &str) -> Result<()> {
        self.shell.send(script)
    }

    /// Asks for a reboot and waits for the reset.
    pub(crate) fn reboot(self) -> Result<()> {
        self.goes_down("systemctl reboot", End::Reset)
    }

    /// Runs a script by which the machine ends in this way, and waits for that.
    pub(crate) fn goes_down(self, script: &str, expected: End) -> Result<()> {
        self.order(script)?;
        let end = self.end()?;
        ensure!(
            end == expected,
            "{script:?} was to end in {expected:?}, but: {end:?}"
        );
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
