//! Boot sequence: a slot is chosen, its try spent, its kernel started.

use alloc::string::String;
use alloc::vec::Vec;

use slots::{Choice, Committed, Gpt, GptError, Guid, Partition, PartitionNumber, Table, WhichCopy};

use crate::command_line::{CommandLine, RootHash};
use crate::error::{GaveUp, PassedOver};
use crate::letter::Letter;
use crate::machine::{DiskError, Machine};
use crate::watchdog::{self, Trial};

type Passed<M> = PassedOver<DiskError<M>, <M as Machine>::Error>;

/// Boots the machine: repairs the partition table, then tries the slots in the order of their
/// attributes until one takes over. Returns only when none did.
pub fn boot<M: Machine>(machine: &mut M) -> GaveUp<DiskError<M>> {
    if let Err(error) = repair(machine) {
        return GaveUp::NoTable(error);
    }
    let mut tried = Vec::new();
    loop {
        // Read anew: the last round may have spent a try.
        let gpt = match Gpt::read(machine.disk()) {
            Ok(gpt) => gpt,
            Err(error) => return GaveUp::NoTable(error),
        };
        let Some((slot, choice)) = choose(gpt.table(), &tried) else {
            return GaveUp::NoSlot {
                passed_over: tried.len(),
            };
        };
        tried.push(choice.slot);
        let Err(reason) = attempt(machine, &gpt, &slot, choice, &tried);
        machine.complain("passed over", &reason);
    }
}

/// The best slot that wasn't tried since power-on. One with tries left would be chosen for ever.
fn choose(table: &Table, tried: &[PartitionNumber]) -> Option<(Partition, Choice<PartitionNumber>)> {
    let slots = table
        .partitions()
        .filter(|partition| partition.kind == Guid::FLATCAR_USR && !tried.contains(&partition.number));
    let choice = slots::choose(slots.map(|slot| (slot.number, slot.attributes)))?;
    Some((table.partition(choice.slot)?, choice))
}

/// Makes both copies of the table valid and equal. A disk that can't be repaired doesn't end the
/// boot.
fn repair<M: Machine>(machine: &mut M) -> Result<(), GptError<DiskError<M>>> {
    let gpt = Gpt::read(machine.disk())?;
    for which in [WhichCopy::Primary, WhichCopy::Backup] {
        if let Err(flaw) = gpt.copy(which) {
            machine.say(format_args!("the {which} GPT is damaged: {flaw}"));
        }
    }
    match gpt.commit(machine.disk(), gpt.table()) {
        Ok(Committed::Unchanged) => {}
        Ok(Committed::Repaired | Committed::Written) => {
            machine.say(format_args!("repaired the partition table"));
        }
        Err(error) => machine.complain("the partition table stays damaged", &error),
    }
    Ok(())
}

/// Spends a try of the slot, then starts its kernel. Returns only if that failed.
fn attempt<M: Machine>(
    machine: &mut M,
    gpt: &Gpt,
    partition: &Partition,
    choice: Choice<PartitionNumber>,
    tried: &[PartitionNumber],
) -> Result<core::convert::Infallible, Passed<M>> {
    let slot = Letter::of(partition).ok_or(PassedOver::Unknown(partition.number))?;
    machine.say(format_args!(
        "{slot}: partition {}, {}",
        partition.number, choice.found
    ));
    spend(machine, gpt, slot, choice)?;
    let path = match machine.kernel_path(slot) {
        Ok(Some(path)) => path,
        Ok(None) => return Err(PassedOver::NoKernel(slot)),
        Err((path, source)) => return Err(PassedOver::Unloadable { path, source }),
    };
    let mut command_line = command_line(machine, &path, slot, partition)?;
    let armed = if choice.found.is_successful() {
        None
    } else {
        let trial = Trial {
            slot,
            number: choice.slot,
            tried,
        };
        watchdog::arm(machine, trial, &path, &mut command_line)
    };
    let reason = start(machine, path, &command_line);
    // The slot that boots next has nobody who takes it over.
    if let (Some(armed), Some(chipset)) = (armed, machine.chipset()) {
        armed.halt(chipset);
        machine.say(format_args!("the TCO timer is halted again"));
    }
    Err(reason)
}

/// Loads a kernel and starts it. Returns only if that failed.
fn start<M: Machine>(machine: &mut M, path: String, command_line: &str) -> Passed<M> {
    machine.say(format_args!("starting {path} {command_line}"));
    match machine.load(&path, command_line) {
        Ok(kernel) => {
            let source = machine.start(kernel);
            PassedOver::Returned { path, source }
        }
        Err(source) => PassedOver::Unloadable { path, source },
    }
}

/// Writes the spent try to the medium. A slot that was marked good needs no try, and boots even
/// from a disk that can't be written.
fn spend<M: Machine>(
    machine: &mut M,
    gpt: &Gpt,
    slot: Letter,
    choice: Choice<PartitionNumber>,
) -> Result<(), Passed<M>> {
    let mut table = gpt.table().clone();
    // The partition was found in this very table.
    let charged = table.set_attributes(choice.slot, choice.spent);
    debug_assert!(charged.is_ok(), "{charged:?}");
    match gpt.commit(machine.disk(), &table) {
        Ok(Committed::Written) => {
            machine.say(format_args!(
                "{slot}: one try spent, {} left",
                choice.spent.tries().get()
            ));
        }
        Ok(Committed::Unchanged | Committed::Repaired) => {}
        Err(source) if choice.found.is_good() => {
            machine.complain("booting a good slot all the same", &source);
        }
        Err(source) => return Err(PassedOver::TryNotSpent { slot, source }),
    }
    Ok(())
}

fn command_line<M: Machine>(
    machine: &mut M,
    path: &str,
    slot: Letter,
    partition: &Partition,
) -> Result<String, Passed<M>> {
    let template = template(machine);
    let head = machine
        .read(path, RootHash::END)
        .map_err(|source| PassedOver::Unloadable {
            path: path.into(),
            source,
        })?;
    let hash = RootHash::of_kernel(&head.unwrap_or_default());
    template
        .expand(slot, partition.guid, hash)
        .map_err(|source| PassedOver::CommandLine {
            path: path.into(),
            source,
        })
}

/// Command line of the EFI system partition. If it can't be used, the slot is booted with the
/// minimum that a system needs to find its /usr.
fn template<M: Machine>(machine: &mut M) -> CommandLine {
    match machine.read(CommandLine::PATH, CommandLine::LIMIT + 1) {
        Ok(Some(bytes)) => match CommandLine::parse(&bytes) {
            Ok(line) => return line,
            Err(error) => machine.complain(CommandLine::PATH, &error),
        },
        Ok(None) => machine.say(format_args!("no {}", CommandLine::PATH)),
        Err(error) => machine.complain(CommandLine::PATH, &error),
    }
    CommandLine::default()
}
