//! Running the image's own programs (postinst): with a bare environment, all they say kept for the
//! journal, and nothing of them left when they take too long.
//!
//! ```text
//! spawn, a process group of its own ── exits ─────────────────▶ Finished
//!        │ time-out                        ▲
//!        └─ SIGTERM to the group ── grace ─┴─ SIGKILL to the group ─▶ TimedOut
//! dropped while it runs: SIGKILL to the group
//! ```

mod group;
mod output;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::process::Command;

use group::Group;
pub use output::Output;

/// All that a child sees of the daemon's environment. Postinst scripts import the proxies themselves
/// when these are missing, and anything else here would be a new contract with images.
const PASSED_ON: [&str; 5] = [
    "LD_LIBRARY_PATH",
    "PATH",
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
];

/// What a program asked to end gets to clean up after itself.
const GRACE: Duration = Duration::from_secs(10);

/// Why there is no exit status.
#[derive(Debug, thiserror::Error)]
pub enum SubprocessError {
    /// It never ran.
    #[error("cannot run {program}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It ran too long and was ended, with all it had started.
    #[error("{program} was ended after {} s, its time limit", limit.as_secs())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// What it was given.
        limit: Duration,
        /// What it had said until then.
        output: Output,
    },
    /// The kernel would not say how it ended.
    #[error("lost track of {program}")]
    Wait {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Both its streams, as they came.
    pub output: Output,
}

/// A program to run.
#[derive(Debug, Clone)]
pub struct Subprocess {
    program: PathBuf,
    args: Vec<OsString>,
    limit: Duration,
}

impl Subprocess {
    /// `program`, which may run for `limit`.
    #[must_use]
    pub fn new(program: &Path, limit: Duration) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            limit,
        }
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

    /// Runs it to its end, and logs what it said. Dropping the future kills it. A program it left behind
    /// in the background is not waited for.
    ///
    /// # Errors
    /// Only when there is no exit status; a failure of the program itself is [`Finished`].
    pub async fn run(&self) -> Result<Finished, SubprocessError> {
        let ended = self.run_quietly().await;
        match &ended {
            Ok(Finished { output, .. }) | Err(SubprocessError::TimedOut { output, .. }) => {
                tracing::info!("Subprocess output:\n{output}");
            }
            Err(_) => {}
        }
        ended
    }

    /// As [`Self::run`], for programs that run again and again: nothing is logged.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_quietly(&self) -> Result<Finished, SubprocessError> {
        let spawn = |source| SubprocessError::Spawn {
            program: self.program.clone(),
            source,
        };
        let wait = |source| SubprocessError::Wait {
            program: self.program.clone(),
            source,
        };
        let (reader, writer) = io::pipe().map_err(spawn)?;
        let mut group = Group::spawn(&mut self.command(writer).map_err(spawn)?).map_err(spawn)?;
        let mut capture = output::Capture::new(reader).map_err(spawn)?;

        let ended = tokio::time::timeout(self.limit, capture.until(group.wait())).await;
        if let Ok(status) = ended {
            return Ok(Finished {
                status: status.map_err(wait)?,
                output: capture.finish(),
            });
        }
        group.signal(Signal::SIGTERM);
        if tokio::time::timeout(GRACE, capture.until(group.wait()))
            .await
            .is_err()
        {
            group.signal(Signal::SIGKILL);
            capture.until(group.wait()).await.map_err(wait)?;
        }
        // What it started may still run although it ended in time itself.
        group.signal(Signal::SIGKILL);
        Err(SubprocessError::TimedOut {
            program: self.program.clone(),
            limit: self.limit,
            output: capture.finish(),
        })
    }

    /// The command with both its streams going into one pipe, so that their lines keep their order.
    fn command(&self, writer: io::PipeWriter) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear();
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        Ok(command)
    }
}

#[cfg(test)]
mod tests;
