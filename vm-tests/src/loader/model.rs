//! Model of the loader: its rule, carried out on the disk image by the runner, with no code of the
//! real loader.
//!
//! Of the partitions of the slots' type those with a priority above 0 that have a try left or were
//! good once; the highest priority, of equals the first. The try is spent on the disk, and a
//! damaged or differing copy of the table repaired, before the kernel runs. A slot without a
//! readable kernel is passed over.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Loader, PARTUUID, Start, USRHASH, command_line};
use crate::architecture::Architecture;
use crate::command::{run, tool};
use crate::disk::gpt::{self, Table, Which};
use crate::disk::{Disk, Slot};
use crate::guest::RootHash;

/// Model of the loader.
pub(crate) struct Model {
    repairs: bool,
}

impl Model {
    /// The model that follows the rule.
    pub(crate) const RULE: Self = Self { repairs: true };
    /// Writes nothing to the disk; its kernel reads a damaged table by itself.
    pub(crate) const WITHOUT_REPAIRS: Self = Self { repairs: false };
}

impl Loader for Model {
    fn install(&self, _disk: &Disk, _scratch: &Path, _architecture: Architecture) -> Result<()> {
        Ok(())
    }

    fn start(&self, disk: &Disk, scratch: &Path, architecture: Architecture) -> Result<Start> {
        let file = File::options().read(true).write(true).open(disk.path())?;
        let mut table = gpt::read(&file)?;
        let mut passed_over = Vec::new();
        while let Some(slot) = choose(&table, &passed_over) {
            if self.repairs {
                spend(&mut table, slot);
                persist(&file, &table)?;
            }
            let told = if self.repairs { "" } else { " gpt" };
            match kernel(disk, slot, (scratch, architecture), told) {
                Ok(start) => return Ok(start),
                Err(error) => passed_over.push((slot, format!("{error:#}"))),
            }
        }
        bail!("no slot can be booted: {passed_over:?}")
    }
}

/// The next slot by the rule.
pub(crate) fn choose(table: &Table, passed_over: &[(Slot, String)]) -> Option<Slot> {
    let mut best = None;
    for slot in [Slot::A, Slot::B] {
        let Some(standing) = table.standing(slot) else {
            continue;
        };
        let eligible = standing.priority > 0 && (standing.tries > 0 || standing.successful);
        let passed = passed_over.iter().any(|(other, _)| *other == slot);
        if eligible && !passed && best.is_none_or(|(_, priority)| standing.priority > priority) {
            best = Some((slot, standing.priority));
        }
    }
    best.map(|(slot, _)| slot)
}

fn spend(table: &mut Table, slot: Slot) {
    if let Some(mut standing) = table.standing(slot) {
        standing.tries = standing.tries.saturating_sub(1);
        table.set_standing(slot, standing);
    }
}

/// Leaves both copies valid and equal to `table`; writes nothing if they are.
fn persist(file: &File, table: &Table) -> Result<()> {
    let intact = [Which::Primary, Which::Backup]
        .into_iter()
        .all(|which| Table::read(file, which).is_ok_and(|copy| copy.agrees_with(table)));
    if intact { Ok(()) } else { gpt::write(file, table) }
}

fn kernel(
    disk: &Disk,
    slot: Slot,
    (scratch, architecture): (&Path, Architecture),
    told: &str,
) -> Result<Start> {
    let at = |name: &str| scratch.join(format!("{name}-{slot}"));
    let (whole, kernel, initrd) = (at("vmlinuz"), at("linux"), at("initrd"));
    disk.esp_read(slot.kernel(), &whole)
        .with_context(|| format!("no kernel for {slot}"))?;
    let mut split = tool(architecture.objcopy());
    split
        .arg(format!("--dump-section=.linux={}", kernel.display()))
        .arg(format!("--dump-section=.initrd={}", initrd.display()))
        .arg(&whole)
        .arg(at("rest"));
    run(&mut split).with_context(|| format!("the kernel of {slot} can't be loaded"))?;
    let line = command_line(architecture, disk);
    let line = if disk.is_guarded() {
        let hash = RootHash::of_kernel(&whole, architecture)?;
        line.replace(PARTUUID, slot.identity())
            .replace(USRHASH, &hash.to_string())
    } else {
        format!("{line} mount.usr=PARTUUID={}", slot.identity())
    };
    Ok(Start::Kernel {
        kernel,
        initrd,
        command_line: line + told,
    })
}
