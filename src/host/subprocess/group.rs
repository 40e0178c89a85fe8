//! Process group: a child together with everything it starts.

use std::io;
use std::process::ExitStatus;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// A child that leads a process group; the group is killed if this is dropped before the child was
/// waited for.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    /// The child's process id, which is the group's.
    id: Option<Pid>,
    leader: Leader,
}

#[derive(Debug, PartialEq, Eq)]
enum Leader {
    Running,
    Reaped,
}

impl Group {
    /// Starts `command`, which must have been given a process group of its own.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let id = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        Ok(Self {
            child,
            id,
            leader: Leader::Running,
        })
    }

    /// Waits for the child itself. Cancel-safe.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.leader = Leader::Reaped;
        Ok(status)
    }

    /// Signals every process of the group. The group's number stays taken while any of them lives;
    /// when none does there is nobody to signal, which is no error.
    pub(super) fn signal(&self, signal: Signal) {
        let Some(id) = self.id else { return };
        if let Err(errno) = killpg(id, signal)
            && errno != nix::errno::Errno::ESRCH
        {
            tracing::warn!(group = id.as_raw(), %signal, error = errno.desc(), "cannot signal a subprocess");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.leader == Leader::Running {
            self.signal(Signal::SIGKILL);
        }
    }
}
