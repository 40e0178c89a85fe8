//! Preflight: every check that can refuse an update before the network is asked. It changes
//! nothing.

use std::error::Error;
use std::sync::Arc;

use nix::unistd::{AccessFlags, access};

use super::attempt::{AttemptSetup, trusted_keys};
use super::postinstall::require_confinable;
use super::preflight_result::{PreflightResult, PreflightVerdict, SLOT_LOOK};
use super::{InstallError, KernelError, PostinstMode, extensions, kernel};
use crate::amounts::bytes;
use crate::disk::BlockTarget;
use crate::host::free_bytes;

/// Free bytes that the engine's own files need: a checkpoint with a manifest, records, preferences.
const STATE_NEEDS: u64 = 1 << 20;
const STATE: &str = "/var/lib/update_engine";
/// There where control groups are, and within it on systems whose control groups are version 2's
/// alone.
const CGROUPS: &str = "/sys/fs/cgroup";
const UNIFIED_CGROUPS: &str = "/sys/fs/cgroup/cgroup.controllers";
/// Extensions that a distribution's postinst downloads for the new version, and where it puts them.
const EXTENSIONS: &str = "/etc/flatcar/enabled-sysext.conf";
const EXTENSION_DIRECTORY: &str = "/etc/flatcar/sysext";

/// Looks at one thing.
type CheckFunction = fn(&AttemptSetup) -> Result<PreflightVerdict, InstallError>;

/// Everything but the target, in the order in which it is looked at.
const CHECKS: [(&str, CheckFunction); 6] = [
    ("public key", key),
    ("running slot", running_slot),
    ("partition table", |attempt| Ok(partition_table(attempt))),
    ("boot partition", boot_partition),
    ("state directory", state_directory),
    ("postinst", |attempt| Ok(script(attempt))),
];

/// Checks keys, slots, boot partition and state; gives the target, opened exclusively.
///
/// # Errors
/// The first thing that is not as it must be.
pub(super) fn check(attempt: &AttemptSetup) -> Result<Arc<dyn BlockTarget>, InstallError> {
    for (subject, look) in CHECKS {
        match look(attempt)? {
            PreflightVerdict::Fine(_) => {}
            PreflightVerdict::Doubtful(why) | PreflightVerdict::Standing(why) => {
                tracing::warn!("{subject}: {why}");
            }
            PreflightVerdict::Refused(error) | PreflightVerdict::Missing(error) => return Err(error),
        }
    }
    extensions::look(attempt)?;
    open_target(attempt)
}

/// The same for people: everything is looked at, whatever is wrong with the rest. The target is
/// given if it could be opened.
pub(super) fn survey(attempt: &AttemptSetup) -> (Vec<PreflightResult>, Option<Arc<dyn BlockTarget>>) {
    let mut findings: Vec<_> = CHECKS
        .iter()
        .map(|(subject, look)| {
            PreflightResult::new(*subject, look(attempt).unwrap_or_else(PreflightVerdict::Refused))
        })
        .collect();
    if let Some(verdict) =
        extensions::look(attempt).unwrap_or_else(|error| Some(PreflightVerdict::Refused(error)))
    {
        findings.push(PreflightResult::new("extensions", verdict));
    }
    let slot = attempt.plan.target;
    let (verdict, target) = match attempt.site.slots.reserve(slot) {
        Ok(target) => (sized(attempt, target.len()), Some(target)),
        Err(source) => (
            PreflightVerdict::Refused(InstallError::Open { slot, source }),
            None,
        ),
    };
    findings.push(PreflightResult::new(SLOT_LOOK, verdict));
    (findings, target)
}

fn open_target(attempt: &AttemptSetup) -> Result<Arc<dyn BlockTarget>, InstallError> {
    let slot = attempt.plan.target;
    let target = attempt.site.slots.open_target(slot);
    target.map_err(|source| InstallError::Open { slot, source })
}

/// What doesn't fit is only known from the manifest.
fn sized(attempt: &AttemptSetup, len: u64) -> PreflightVerdict {
    let slot = attempt.plan.target;
    match attempt.site.slots.open_source(!slot) {
        Ok(source) if source.len() > len => PreflightVerdict::Doubtful(format!(
            "{slot} has {} less than the running slot, which has {}",
            bytes(source.len() - len),
            bytes(source.len())
        )),
        _ => PreflightVerdict::Fine(format!("{slot}, {}, nobody uses it", bytes(len))),
    }
}

fn key(attempt: &AttemptSetup) -> Result<PreflightVerdict, InstallError> {
    let paths = &attempt.plan.public_keys;
    trusted_keys(paths)?;
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    Ok(PreflightVerdict::Fine(paths.join(", ")))
}

fn running_slot(attempt: &AttemptSetup) -> Result<PreflightVerdict, InstallError> {
    running_is_good(attempt)?;
    Ok(PreflightVerdict::Fine(format!(
        "{} is good",
        attempt.site.slots.running()
    )))
}

/// Nothing that an update does makes it better or worse; but whoever reads this can.
fn partition_table(attempt: &AttemptSetup) -> PreflightVerdict {
    match attempt.site.slots.boot_risks(&attempt.site.host) {
        Ok(risks) if risks.is_empty() => PreflightVerdict::Fine("every reader at boot accepts it".to_owned()),
        Ok(risks) => {
            let risks: Vec<_> = risks.iter().map(ToString::to_string).collect();
            PreflightVerdict::Standing(risks.join("; "))
        }
        Err(error) => {
            let causes = std::iter::successors(Some(&error as &dyn Error), |error| (**error).source());
            let causes: Vec<_> = causes.map(ToString::to_string).collect();
            PreflightVerdict::Standing(format!(
                "who takes it at boot is not known: {}",
                causes.join(": ")
            ))
        }
    }
}

/// The original copies the running kernel first, whatever the payload brings: as much has to fit.
fn boot_partition(attempt: &AttemptSetup) -> Result<PreflightVerdict, InstallError> {
    kernels_are_on_own_disk(attempt)?;
    kernel_can_be_written(attempt)?;
    let running = attempt.path(&attempt.plan.source_kernel);
    let Some(size) = kernel_result(attempt, kernel::size(&running))? else {
        let running = running.display();
        return Ok(PreflightVerdict::Doubtful(format!(
            "there is no {running}: how much the new kernel needs is not known"
        )));
    };
    kernel_fits(attempt, size)?;
    let room = kernel_result(attempt, kernel::room(&attempt.path(&attempt.plan.target_kernel)))?;
    Ok(PreflightVerdict::Fine(format!(
        "the running kernel has {}, {} are free for a new one",
        bytes(size),
        bytes(room)
    )))
}

fn state_directory(attempt: &AttemptSetup) -> Result<PreflightVerdict, InstallError> {
    let path = attempt.path(STATE);
    // What is missing is made, where that can be done.
    let existing = path
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(&path)
        .to_owned();
    let refuse = |source| InstallError::StateDirectory {
        path: existing.clone(),
        source,
    };
    access(&existing, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| refuse(errno.into()))?;
    let available = free_bytes(&existing).map_err(refuse)?;
    if available < STATE_NEEDS {
        let needed = STATE_NEEDS;
        return Err(InstallError::StateFull {
            path: existing,
            available,
            needed,
        });
    }
    Ok(PreflightVerdict::Fine(format!(
        "{}, {} free",
        path.display(),
        bytes(available)
    )))
}

/// Which script it is, the image in the payload knows; these are the steps that today's have.
fn script(attempt: &AttemptSetup) -> PreflightVerdict {
    if attempt.site.postinst == PostinstMode::Skip {
        return PreflightVerdict::Fine("is not run".to_owned());
    }
    if attempt.path(CGROUPS).is_dir() && !attempt.path(UNIFIED_CGROUPS).exists() {
        let why = "the node uses control groups of version 1: newer images refuse to be installed here";
        return PreflightVerdict::Doubtful(why.to_owned());
    }
    if let Err(error) = require_confinable(&attempt.site) {
        return PreflightVerdict::Refused(InstallError::Postinst(error));
    }
    let path = attempt.path(EXTENSION_DIRECTORY);
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(&path);
    let enabled = match attempt.site.host.is_there(EXTENSIONS) {
        Ok(enabled) => enabled,
        Err(error) => {
            let why = format!("{error}: {}", error.source);
            return PreflightVerdict::Doubtful(format!("{why}: a postinst that needs it refuses the image"));
        }
    };
    if enabled && access(existing, AccessFlags::W_OK).is_err() {
        let path = path.display();
        return PreflightVerdict::Doubtful(format!(
            "{path} can't be written: the new version's extensions go there"
        ));
    }
    PreflightVerdict::Fine("no obstacle is known".to_owned())
}

/// The running slot boots without us.
///
/// # Errors
/// [`InstallError::RunningNotGood`].
pub(super) fn running_is_good(attempt: &AttemptSetup) -> Result<(), InstallError> {
    let (slots, target) = (&attempt.site.slots, attempt.plan.target);
    slots
        .require_running_good(target)
        .map_err(|source| InstallError::RunningNotGood {
            running: slots.running(),
            target,
            source,
        })
}

/// The loader starts kernels of the slots' disk, whatever is mounted where they should be.
///
/// # Errors
/// [`InstallError::KernelDisk`], or the slots' disk can't be looked at.
pub(super) fn kernels_are_on_own_disk(attempt: &AttemptSetup) -> Result<(), InstallError> {
    let own = attempt.site.slots.own_disk();
    let own = own.map_err(|source| InstallError::OwnDisk(Box::new(source)))?;
    for kernel in [&attempt.plan.target_kernel, &attempt.plan.source_kernel] {
        own.require_file_system(&attempt.site.host, kernel)
            .map_err(|source| InstallError::KernelDisk(Box::new(source)))?;
    }
    Ok(())
}

/// The target's kernel can be written: a boot partition may be mounted read-only, by an administrator or
/// by the system after an error.
///
/// # Errors
/// [`InstallError::Kernel`].
pub(super) fn kernel_can_be_written(attempt: &AttemptSetup) -> Result<(), InstallError> {
    let target = attempt.path(&attempt.plan.target_kernel);
    kernel_result(attempt, kernel::require_writable(&target))
}

/// A kernel of `size` bytes fits at the target's place.
///
/// # Errors
/// [`InstallError::Kernel`].
pub(super) fn kernel_fits(attempt: &AttemptSetup, size: u64) -> Result<(), InstallError> {
    let target = attempt.path(&attempt.plan.target_kernel);
    kernel_result(attempt, kernel::require_space(&target, size))
}

/// Names both kernels beside what is wrong with them.
pub(super) fn kernel_result<T>(
    attempt: &AttemptSetup,
    result: Result<T, KernelError>,
) -> Result<T, InstallError> {
    result.map_err(|source| InstallError::Kernel {
        from: attempt.path(&attempt.plan.source_kernel),
        to: attempt.path(&attempt.plan.target_kernel),
        source,
    })
}
