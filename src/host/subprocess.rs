//! Subprocesses: the image's own programs (postinst) are run with a bare environment, all they say
//! kept for the journal, and nothing of them left when they take too long.
//!
//! ```text
//! spawn, a process group of its own ── exits ─────────────────▶ Finished
//!        │ time-out                        ▲
//!        └─ SIGTERM to the group ── grace ─┴─ SIGKILL to the group ─▶ TimedOut
//! cancelled, or dropped while it runs: SIGKILL to the group
//! ```
//!
//! Where systemd runs, programs that aren't ours run as units of their own instead of a process
//! group, so that the limits of the daemon's unit can be tight: [`Subprocess::in_unit`].

mod group;
mod output;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use group::Group;
pub use output::Output;

pub use crate::systemd::DeviceLimits;
use crate::systemd::{TransientService, TransientUnit};

/// Variables of the environment that name a proxy.
pub const PROXY_VARIABLES: [&str; 6] = [
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
];

/// Variables of the environment that name the hosts reached without a proxy.
pub const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The other variables of the environment that a child sees. With the proxies these are the
/// original's five, and the other names of the same proxies, without which a postinst's downloads
/// would take another way than the daemon's. Scripts import the first three proxies themselves when
/// none is there, and anything else would be a new contract with images.
const PATH_VARIABLES: [&str; 2] = ["LD_LIBRARY_PATH", "PATH"];

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// Error of a program without an exit status.
#[derive(Debug, thiserror::Error)]
pub enum SubprocessError {
    /// The program was not started.
    #[error("cannot run {program}")]
    Spawn {
        /// Path of the program.
        program: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// The program exceeded its time limit and was ended, with all processes it had started.
    #[error("{program} was ended after {} s, its time limit", limit.as_secs())]
    TimedOut {
        /// Path of the program.
        program: PathBuf,
        /// The time that the program was given.
        limit: Duration,
        /// Output until then.
        output: Output,
    },
    /// The program was cancelled and killed.
    #[error("{program} was killed, because the attempt was cancelled")]
    Cancelled {
        /// Path of the program.
        program: PathBuf,
    },
    /// systemd didn't start it.
    #[error("systemd doesn't run {program} as {unit}")]
    Unit {
        /// Path of the program.
        program: PathBuf,
        /// Name of the unit.
        unit: String,
        /// Error of systemd.
        source: zbus::Error,
    },
    /// The exit status could not be read from the kernel or systemd.
    #[error("lost track of {program}")]
    Wait {
        /// Path of the program.
        program: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
}

/// End of a program.
#[derive(Debug)]
pub struct Finished {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Standard output and standard error, in the order of arrival.
    pub output: Output,
}

/// A program to run.
#[derive(Debug, Clone)]
pub struct Subprocess {
    program: PathBuf,
    /// `argv[0]`, if not the path.
    name: Option<String>,
    args: Vec<OsString>,
    limit: Duration,
    unit: Option<String>,
    devices: Option<DeviceLimits>,
}

/// A program that was started.
enum RunningProgram {
    Child(Group),
    Unit(Box<TransientUnit>),
}

impl RunningProgram {
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Child(group) => group.wait().await,
            Self::Unit(unit) => unit.wait().await,
        }
    }

    async fn signal(&self, signal: Signal) {
        match self {
            Self::Child(group) => group.signal(signal),
            Self::Unit(unit) => unit.signal(signal).await,
        }
    }
}

impl Subprocess {
    /// `program` with the time limit `limit`.
    #[must_use]
    pub fn new(program: &Path, limit: Duration) -> Self {
        Self {
            program: program.into(),
            name: None,
            args: Vec::new(),
            limit,
            unit: None,
            devices: None,
        }
    }

    /// Sets `argv[0]` to `name`.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Runs it as a transient systemd service of this name, which no other unit must have.
    #[must_use]
    pub fn in_unit(mut self, name: &str) -> Self {
        self.unit = Some(name.to_owned());
        self
    }

    /// Limits the devices that it reaches; of a unit only.
    #[must_use]
    pub fn confined(mut self, devices: DeviceLimits) -> Self {
        self.devices = Some(devices);
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Runs it to its end, and logs its output. `cancel` kills it, and so does dropping the future,
    /// though a unit then ends a moment later. A program it left behind in the background is not
    /// waited for.
    ///
    /// # Errors
    /// Only when there is no exit status; a failure of the program itself is [`Finished`].
    pub async fn run(&self, cancel: &CancellationToken) -> Result<Finished, SubprocessError> {
        let ended = self.run_until(cancel).await;
        match &ended {
            Ok(Finished { output, .. }) | Err(SubprocessError::TimedOut { output, .. }) => {
                tracing::info!("Subprocess output:\n{output}");
            }
            Err(_) => {}
        }
        ended
    }

    /// Like [`Self::run`], for programs that run repeatedly: nothing is logged.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_quietly(&self) -> Result<Finished, SubprocessError> {
        self.run_unlogged(&CancellationToken::new()).await
    }

    /// Like [`Self::run`], for programs of our own whose output is an answer: it is not logged.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_unlogged(&self, cancel: &CancellationToken) -> Result<Finished, SubprocessError> {
        self.run_until(cancel).await
    }

    async fn run_until(&self, cancel: &CancellationToken) -> Result<Finished, SubprocessError> {
        let spawn = |source| SubprocessError::Spawn {
            program: self.program.clone(),
            source,
        };
        let wait = |source| SubprocessError::Wait {
            program: self.program.clone(),
            source,
        };
        let (reader, writer) = io::pipe().map_err(spawn)?;
        let mut running = self.start(writer).await?;
        let mut capture = output::Capture::new(reader).map_err(spawn)?;

        let ended = tokio::select! {
            ended = tokio::time::timeout(self.limit, capture.until(running.wait())) => ended.ok(),
            () = cancel.cancelled() => {
                running.signal(Signal::SIGKILL).await;
                capture.until(running.wait()).await.map_err(wait)?;
                return Err(SubprocessError::Cancelled { program: self.program.clone() });
            }
        };
        if let Some(status) = ended {
            return Ok(Finished {
                status: status.map_err(wait)?,
                output: capture.finish(),
            });
        }
        self.end(&mut running, &mut capture).await.map_err(wait)?;
        Err(SubprocessError::TimedOut {
            program: self.program.clone(),
            limit: self.limit,
            output: capture.finish(),
        })
    }

    async fn start(&self, output: io::PipeWriter) -> Result<RunningProgram, SubprocessError> {
        let spawn = |source| SubprocessError::Spawn {
            program: self.program.clone(),
            source,
        };
        let Some(name) = &self.unit else {
            let mut command = self.command(output).map_err(spawn)?;
            return Ok(RunningProgram::Child(Group::spawn(&mut command).map_err(spawn)?));
        };
        // systemd would only say that there was something.
        nix::unistd::access(&self.program, nix::unistd::AccessFlags::X_OK).map_err(|e| spawn(e.into()))?;
        let service = TransientService {
            program: &self.program,
            name: self.name.as_deref(),
            args: &self.args,
            environment: passed_on().collect(),
            limit: self.limit.saturating_add(2 * GRACE),
            devices: self.devices.as_ref(),
        };
        let unit = TransientUnit::start(name, &service, output).await;
        let unit = unit.map_err(|source| SubprocessError::Unit {
            program: self.program.clone(),
            unit: name.clone(),
            source,
        })?;
        Ok(RunningProgram::Unit(Box::new(unit)))
    }

    /// Ends it: SIGTERM, then SIGKILL.
    async fn end(&self, running: &mut RunningProgram, capture: &mut output::Capture) -> io::Result<()> {
        running.signal(Signal::SIGTERM).await;
        if tokio::time::timeout(GRACE, capture.until(running.wait()))
            .await
            .is_err()
        {
            running.signal(Signal::SIGKILL).await;
            capture.until(running.wait()).await?;
        }
        // What a child started may still run although it ended in time itself; a unit's processes
        // end with it.
        if let RunningProgram::Child(group) = running {
            group.signal(Signal::SIGKILL);
        }
        Ok(())
    }

    /// The command with both its streams going into one pipe, so that their lines keep their order.
    fn command(&self, writer: io::PipeWriter) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(passed_on());
        if let Some(name) = &self.name {
            command.arg0(name);
        }
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        Ok(command)
    }
}

/// The variables that children see, as far as they are set.
pub fn passed_on() -> impl Iterator<Item = (&'static str, OsString)> {
    PATH_VARIABLES
        .into_iter()
        .chain(PROXY_VARIABLES)
        .chain(NO_PROXY_VARIABLES)
        .filter_map(|name| Some((name, std::env::var_os(name)?)))
}

#[cfg(test)]
mod tests;
