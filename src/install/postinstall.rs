//! The image's `postinst` script, run from the sealed and mounted slot.
//!
//! `<mount>/postinst <device> KERNEL=<path> [PCR_POLICY=<path>]`. Exit code 0 means that the slot
//! may boot. 3 means the same after an error that the server should hear of. Anything else, a
//! signal or a time-out means that it may not, whatever boot flags the script set before.
//!
//! ```text
//!  systemd runs:  daemon ── StartTransientUnit ─▶ [runner: mounts the slot for itself] ─ exec ─▶ postinst
//!  else:          daemon: mounts the slot ── fork, exec ─▶ postinst
//! ```
//! The script may do anything to the system, the daemon next to nothing: so it is no child of the
//! daemon's where that can be helped. The runner is the daemon's program called [`RUNNER`]; its
//! mount ends with the unit.

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Site;
use crate::disk::{DiskError, DummyDisk, SlotName};
use crate::host::Host;
use crate::host::mount::{MountError, Mounted};
use crate::host::subprocess::{DeviceLimits, Subprocess, SubprocessError};

/// The script downloads extension images for the new version, over the same slow link.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// The exit code of images that booted from the second firmware slot: an error that commits.
const AFTER_ERROR: i32 = 3;

/// The name by which the daemon's program becomes the runner. It is told the slot's device, then
/// what the script is told beside it, and runs in a mount namespace of its own.
pub const RUNNER: &str = "update-engine-run-postinst";

/// The name by which it becomes the runner that first makes sure that it can write to no disk. It is
/// first told which nodes the script sees in place of which others, in pairs, up to
/// [`END_OF_SHOWN`].
pub const CONFINED_RUNNER: &str = "update-engine-run-postinst-confined";

/// What follows is what [`RUNNER`] is told.
pub const END_OF_SHOWN: &str = "--";

/// The runner's unit. Drop-ins for it apply.
const UNIT: &str = "update-engine-postinst.service";

/// The runner's exit code when there is no script to run; systemd's own for a namespace that can't
/// be set up.
pub const NO_SCRIPT: u8 = 226;

/// Whether the image's script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostinstMode {
    /// Run it: the only way on a real machine.
    Run,
    /// Run it where it can't write the partition table: the slot is to stay unbootable.
    RunConfined,
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
    /// The runner could not mount the slot, or not start the script in it.
    #[error("{UNIT} could not run postinst: {said}")]
    Runner {
        /// Its last words.
        said: String,
    },
    /// The looker could not mount the slot, or its answer can't be used.
    #[error("cannot look into the slot: {said}")]
    Looker {
        /// Its last words.
        said: String,
    },
    /// What keeps the script from the partition table needs systemd.
    #[error("without systemd nothing keeps postinst from switching the slot: ACTIVATE has to be at-once")]
    NotConfined,
    /// The script can't be given the dummy disk.
    #[error("cannot keep the partition table out of postinst's reach")]
    DummyDisk(#[source] DiskError),
    /// The daemon's own program can't be found.
    #[error("cannot find the program that runs postinst")]
    Program(#[source] io::Error),
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
pub(super) struct ScriptArguments {
    /// The sealed slot.
    pub(super) device: PathBuf,
    /// The kernel file of the slot.
    pub(super) kernel: PathBuf,
    /// The PCR policy, if the payload brought one.
    pub(super) pcr_policy: Option<PathBuf>,
}

/// What keeps a script from writing the partition table: no device of a disk is writable for it, and
/// where it looks for the slots' disk and for the slot it finds a dummy disk, so that it may switch the
/// slot in there. It reaches the disk by the slot, too: a partition's number leads to its disk.
#[derive(Debug)]
pub(super) struct Confinement {
    dummy: Option<DummyDisk>,
}

impl Confinement {
    /// What `site` asks for with a script in `slot`; nothing if it may write.
    ///
    /// # Errors
    /// [`PostinstError::NotConfined`], [`PostinstError::DummyDisk`].
    pub(super) fn of(site: &Site, slot: SlotName) -> Result<Option<Self>, PostinstError> {
        if site.postinst != PostinstMode::RunConfined {
            return Ok(None);
        }
        require_confinable(site)?;
        let dummy = site.slots.dummy_disk(slot).map_err(PostinstError::DummyDisk)?;
        Ok(Some(Self { dummy }))
    }

    /// `runner`, with the limits, told what to show the script in place of
    /// what; the slot is at `device`.
    fn confine(&self, runner: Subprocess, device: &Path) -> Subprocess {
        let shown = self
            .dummy
            .iter()
            .flat_map(|dummy| {
                [
                    (dummy.device().to_owned(), dummy.disk().to_owned()),
                    (dummy.partition(), device.to_owned()),
                ]
            })
            .collect::<Vec<_>>();
        let writable = shown.iter().map(|(node, _)| node.clone()).collect();
        let runner = runner.called(CONFINED_RUNNER).confined(DeviceLimits { writable });
        let told = shown
            .into_iter()
            .fold(runner, |runner, (node, place)| runner.arg(node).arg(place));
        told.arg(END_OF_SHOWN)
    }
}

/// Refuses a script that is to be kept from the partition table and can't be.
///
/// # Errors
/// [`PostinstError::NotConfined`].
pub(super) fn require_confinable(site: &Site) -> Result<(), PostinstError> {
    if site.postinst == PostinstMode::RunConfined && !site.host.has_systemd() {
        return Err(PostinstError::NotConfined);
    }
    Ok(())
}

/// Mounts the sealed slot and runs its script. When this returns, the script has ended.
///
/// # Errors
/// See [`PostinstError`].
pub(super) async fn run(
    host: &Host,
    arguments: &ScriptArguments,
    confinement: Option<&Confinement>,
    cancel: &CancellationToken,
) -> Result<PostinstOutcome, PostinstError> {
    if host.has_systemd() {
        return run_in_unit(arguments, confinement, cancel).await;
    }
    if confinement.is_some() {
        return Err(PostinstError::NotConfined);
    }
    let device = arguments.device.clone();
    let mounted = tokio::task::spawn_blocking(move || Mounted::new(&device)).await;
    // A panic of the closure is ours to pass on; it isn't cancelled.
    match mounted.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())) {
        Ok(mounted) => {
            let outcome = run_in(mounted.path(), arguments, cancel).await;
            if let Err(error) = mounted.unmount() {
                tracing::warn!(error = &error as &dyn Error, "the slot stays mounted");
            }
            outcome
        }
        // The kernel won't mount one file system twice: the new image is the running one, script
        // included.
        Err(MountError::AlreadyMounted { .. }) => run_in(&host.path("/usr"), arguments, cancel).await,
        Err(e) => Err(PostinstError::Mount(e)),
    }
}

async fn run_in_unit(
    arguments: &ScriptArguments,
    confinement: Option<&Confinement>,
    cancel: &CancellationToken,
) -> Result<PostinstOutcome, PostinstError> {
    let program = std::env::current_exe().map_err(PostinstError::Program)?;
    let runner = Subprocess::new(&program, TIME_LIMIT).in_unit(UNIT);
    let runner = match confinement {
        Some(confinement) => confinement.confine(runner, &arguments.device),
        None => runner.called(RUNNER),
    };
    let finished = arguments.tell(runner).run(cancel).await?;
    if finished.status.code() == Some(NO_SCRIPT.into()) {
        let said = finished.output.to_string();
        let said = said.lines().next_back().unwrap_or_default().to_owned();
        return Err(PostinstError::Runner { said });
    }
    outcome(finished.status)
}

async fn run_in(
    directory: &Path,
    arguments: &ScriptArguments,
    cancel: &CancellationToken,
) -> Result<PostinstOutcome, PostinstError> {
    let script = Subprocess::new(&directory.join("postinst"), TIME_LIMIT);
    outcome(arguments.tell(script).run(cancel).await?.status)
}

impl ScriptArguments {
    fn tell(&self, script: Subprocess) -> Subprocess {
        let script = script.arg(&self.device).arg(assignment("KERNEL=", &self.kernel));
        match &self.pcr_policy {
            Some(policy) => script.arg(assignment("PCR_POLICY=", policy)),
            None => script,
        }
    }
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
