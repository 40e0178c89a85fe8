//! The image's own last word: its `postinst`, run from the sealed and mounted slot.
//!
//! `<mount>/postinst <device> KERNEL=<path> [PCR_POLICY=<path>]`. Exit code 0 means that the slot may
//! boot. 3 means the same after an error that the server should hear of. Anything else, a signal or a
//! time-out means that it may not, whatever boot flags the script set before.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::disk::DiskError;
use crate::host::Host;
use crate::host::mount::{MountError, Mounted};
use crate::host::subprocess::{Subprocess, SubprocessError};

/// The script downloads extension images for the new version, over the same slow link.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// The exit code of images that booted from the second firmware slot: an error that commits.
const AFTER_ERROR: i32 = 3;

/// Whether the image's script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Postinst {
    /// Run it: the only way on a real machine.
    Run,
    /// Leave it out, where a directory stands for `/` and nothing may be mounted.
    Skip,
}

/// How a script that commits ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostinstOutcome {
    /// Exit code 0, or not run.
    Clean,
    /// Exit code 3: commit, and report the error.
    AfterError,
}

/// Why the slot may not boot.
#[derive(Debug, thiserror::Error)]
pub enum PostinstError {
    /// The slot can't be made read-only.
    #[error("cannot seal the slot")]
    Seal(#[source] DiskError),
    /// The slot can't be mounted.
    #[error("cannot mount the slot")]
    Mount(#[source] MountError),
    /// The script never ran, or not to its end.
    #[error(transparent)]
    Subprocess(#[from] SubprocessError),
    /// The script says no.
    #[error("postinst ended with exit code {code}")]
    Refused {
        /// Its exit code, neither 0 nor 3.
        code: i32,
    },
    /// The script died.
    #[error("postinst was killed by signal {signal}")]
    Killed {
        /// The signal's number.
        signal: i32,
    },
}

/// What the script is told.
#[derive(Debug)]
pub(super) struct Arguments {
    /// The sealed slot.
    pub(super) device: PathBuf,
    /// The kernel file of the slot.
    pub(super) kernel: PathBuf,
    /// The PCR policy, if the payload brought one.
    pub(super) pcr_policy: Option<PathBuf>,
}

/// Mounts the sealed slot and runs its script.
///
/// # Errors
/// See [`PostinstError`].
pub(super) async fn run(host: &Host, arguments: &Arguments) -> Result<PostinstOutcome, PostinstError> {
    let device = arguments.device.clone();
    let mounted = tokio::task::spawn_blocking(move || Mounted::new(&device)).await;
    // A panic of the closure is ours to pass on; it isn't cancelled.
    match mounted.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())) {
        Ok(mounted) => {
            let outcome = run_in(mounted.path(), arguments).await;
            if let Err(error) = mounted.unmount() {
                tracing::warn!(%error, "the slot stays mounted");
            }
            outcome
        }
        // The kernel won't mount one file system twice: the new image is the running one, script included.
        Err(MountError::AlreadyMounted { .. }) => run_in(&host.path("/usr"), arguments).await,
        Err(e) => Err(PostinstError::Mount(e)),
    }
}

async fn run_in(directory: &Path, arguments: &Arguments) -> Result<PostinstOutcome, PostinstError> {
    let mut script = Subprocess::new(&directory.join("postinst"), TIME_LIMIT)
        .arg(&arguments.device)
        .arg(assignment("KERNEL=", &arguments.kernel));
    if let Some(policy) = &arguments.pcr_policy {
        script = script.arg(assignment("PCR_POLICY=", policy));
    }
    outcome(script.run().await?.status)
}

fn assignment(name: &str, path: &Path) -> OsString {
    let mut text = OsString::from(name);
    text.push(path);
    text
}

fn outcome(status: ExitStatus) -> Result<PostinstOutcome, PostinstError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(PostinstOutcome::Clean),
        (Some(AFTER_ERROR), _) => Ok(PostinstOutcome::AfterError),
        (Some(code), _) => Err(PostinstError::Refused { code }),
        // A process that didn't exit was killed: there is no third way to end.
        (None, signal) => Err(PostinstError::Killed {
            signal: signal.unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exit_codes_0_and_3_commit() {
        assert!(matches!(
            outcome(ExitStatus::from_raw(0)),
            Ok(PostinstOutcome::Clean)
        ));
        assert!(matches!(
            outcome(ExitStatus::from_raw(3 << 8)),
            Ok(PostinstOutcome::AfterError)
        ));
        for code in [1, 2, 4, 127, 255] {
            let refused = outcome(ExitStatus::from_raw(code << 8));
            assert!(matches!(refused, Err(PostinstError::Refused { code: c }) if c == code));
        }
        assert!(matches!(
            outcome(ExitStatus::from_raw(9)),
            Err(PostinstError::Killed { signal: 9 })
        ));
    }
}
