//! The watchdog that is armed before the kernel of a slot on trial starts.
//!
//! ```text
//!  slot on trial ─▶ its kernel has a handover file, which names this very kernel
//!                     ─▶ the other slot is good and has a kernel, read at this moment
//!                          ─▶ TCO timer armed ─▶ kernel: iTCO_wdt takes it over ─▶ systemd feeds it, for ever
//!                               │                  └ feeds it for OPEN_TIMEOUT at most
//!                               └ nobody takes it over: the machine is reset, the loader takes the other slot
//! ```
//!
//! Invariant: nothing is armed for a slot that is marked good, for one without such a file, or
//! where there is no way back. Whatever keeps the loader from it is a line on the console, and the
//! boot goes on as without.

mod handover;
mod tco;

use alloc::string::String;
use core::error::Error;

use slots::{Gpt, GptError, Guid, PartitionNumber, Table};

pub use handover::{Handover, HandoverError, OpenTimeout, Sha256Digest};
pub use tco::{ArmedTco, Chipset, LpcRegister, TcoError, TcoPlace, TcoRegister, TcoTimeout};

use crate::command_line::CommandLine;
use crate::letter::Letter;
use crate::machine::{DiskError, Machine};

type Reason<M> = NotArmed<DiskError<M>, <M as Machine>::Error>;

/// Why no watchdog is armed although there is a handover file. `D` is the disk's error, `E` the
/// firmware's.
#[derive(Debug, thiserror::Error)]
pub enum NotArmed<D: Error + 'static, E: Error + 'static> {
    /// The file, the kernel or the other slot's kernel can't be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Path of the file.
        path: String,
        /// Error of the firmware.
        source: E,
    },
    /// The handover file is wrong.
    #[error("{path} is no handover file")]
    File {
        /// Its path.
        path: String,
        /// What is wrong with it.
        source: HandoverError,
    },
    /// The table can't be read again.
    #[error("the partition table cannot be read")]
    Table(#[source] GptError<D>),
    /// By the table as it is now, the slot isn't on trial.
    #[error("{0} is not on trial")]
    NotOnTrial(Letter),
    /// There is nothing to go back to: the other slot isn't good, or was passed over in this boot.
    #[error("{0} is not good, or was passed over: there is nothing to go back to")]
    OtherNotGood(Letter),
    /// The same, for want of a kernel.
    #[error("{0} has no kernel: there is nothing to go back to")]
    OtherHasNoKernel(Letter),
    /// The file was written for another kernel in this place.
    #[error("{path} is about another kernel: this one's SHA-256 is {found}")]
    OtherKernel {
        /// Path of the handover file.
        path: String,
        /// Digest of the kernel.
        found: Sha256Digest,
    },
    /// The command line has no room for the open time-out.
    #[error("the command line has no room for {0}")]
    NoRoom(String),
    /// The timer doesn't do it.
    #[error(transparent)]
    Tco(TcoError),
}

/// A slot on trial that is to be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial<'a> {
    pub(crate) slot: Letter,
    /// Its partition.
    pub(crate) number: PartitionNumber,
    /// Slots that were chosen since power-on; the others of them were passed over.
    pub(crate) tried: &'a [PartitionNumber],
}

/// Arms the watchdog that the kernel at `kernel` takes over, if it is to be armed, and adds to
/// `command_line` how long the kernel then feeds it for.
pub(crate) fn arm<M: Machine>(
    machine: &mut M,
    trial: Trial<'_>,
    kernel: &str,
    command_line: &mut String,
) -> Option<ArmedTco> {
    machine.chipset()?;
    match try_arm(machine, trial, kernel, command_line) {
        Ok(armed) => armed,
        Err(reason) => {
            machine.complain("no watchdog is armed", &reason);
            None
        }
    }
}

fn try_arm<M: Machine>(
    machine: &mut M,
    trial: Trial<'_>,
    kernel: &str,
    command_line: &mut String,
) -> Result<Option<ArmedTco>, Reason<M>> {
    let path = Handover::path(kernel);
    let unreadable = |path: &str, source| NotArmed::Unreadable {
        path: path.into(),
        source,
    };
    let bytes = machine
        .read(&path, Handover::LIMIT + 1)
        .map_err(|source| unreadable(&path, source))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let handover = match Handover::parse(&bytes) {
        Ok(handover) => handover,
        Err(source) => return Err(NotArmed::File { path, source }),
    };
    // On the medium by now: the try is spent.
    let gpt = Gpt::read(machine.disk()).map_err(NotArmed::Table)?;
    require_way_back(machine, gpt.table(), trial)?;
    let found = machine
        .digest(kernel)
        .map_err(|source| unreadable(kernel, source))?;
    if found != handover.kernel {
        return Err(NotArmed::OtherKernel { path, found });
    }
    let word = handover.open_timeout.word();
    if command_line.len() + 1 + word.len() > CommandLine::LIMIT {
        return Err(NotArmed::NoRoom(word));
    }
    let Some(chipset) = machine.chipset() else {
        return Ok(None);
    };
    let armed = ArmedTco::arm(chipset, handover.timeout).map_err(NotArmed::Tco)?;
    command_line.push(' ');
    command_line.push_str(&word);
    machine.say(format_args!(
        "armed the TCO timer at {}: it resets in {} s unless the kernel takes it over; systemd has {} s to open it then",
        armed.place(),
        handover.timeout.seconds(),
        handover.open_timeout.seconds(),
    ));
    Ok(Some(armed))
}

/// Refuses unless the slot is on trial, and the other one is good and has its kernel.
fn require_way_back<M: Machine>(machine: &mut M, table: &Table, trial: Trial<'_>) -> Result<(), Reason<M>> {
    let is_good = table
        .partition(trial.number)
        .is_none_or(|partition| partition.attributes.is_successful());
    if is_good {
        return Err(NotArmed::NotOnTrial(trial.slot));
    }
    let other = trial.slot.other();
    let goes_back = table.partitions().any(|partition| {
        partition.kind == Guid::FLATCAR_USR
            && Letter::of(&partition) == Some(other)
            && partition.attributes.is_good()
            && !trial.tried.contains(&partition.number)
    });
    if !goes_back {
        return Err(NotArmed::OtherNotGood(other));
    }
    match machine.kernel_path(other) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(NotArmed::OtherHasNoKernel(other)),
        Err((path, source)) => Err(NotArmed::Unreadable { path, source }),
    }
}
