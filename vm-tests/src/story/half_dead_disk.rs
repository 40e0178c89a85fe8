//! Partition tables damaged while the machine is off.

use std::fs::File;

use anyhow::{Result, ensure};

use super::{Control, Story};
use crate::command::{run, tool};
use crate::disk::gpt::{self, Table, Which};
use crate::disk::{Disk, Slot, Standing};
use crate::guest::Conduct;
use crate::loader::Model;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "half-dead-disk",
    shows: "primary table destroyed, then the backup, then both differ: it boots, repairs, updates",
    play,
    usual: true,
    control: Control {
        off: "neither loader nor daemon repairs",
        fails: "no signature",
    },
};

/// Damage to a disk with the given running slot, while the machine is off.
type Damage = fn(&Disk, Slot) -> Result<()>;

/// A slot that would win if it were believed.
const TEMPTING: Standing = Standing::new(15, 15, true);

fn play(stage: &mut Stage) -> Result<()> {
    let conduct = if stage.is_control() {
        Conduct::Unattended
    } else {
        Conduct::Good
    };
    if stage.is_control() {
        stage.boot_by(&Model::WITHOUT_REPAIRS);
    }
    let mut release = stage.release("1.0.0", conduct)?;
    let disk = stage.install(&release)?;
    let mut running = Slot::A;
    let damages: [(&str, Damage); 3] = [
        ("the primary table is destroyed", |disk, _| {
            gpt::destroy(disk.path(), Which::Primary)
        }),
        ("the backup table is destroyed", |disk, _| {
            gpt::destroy(disk.path(), Which::Backup)
        }),
        ("the tables differ", lying_backup),
    ];
    for (turn, (what, damage)) in (2_u32..).zip(damages) {
        stage.say(what);
        damage(&disk, running)?;
        let mut machine = stage.boot(&disk)?;
        expect_running(&mut machine, running, &release)?;
        expect_repaired(stage, &disk)?;
        if turn > 2 {
            machine.console().wait_for("is marked good")?;
        }

        release = stage.release(&format!("{turn}.0.0"), Conduct::Good)?;
        stage.offer(&release)?;
        stage.update(&mut machine)?;
        machine.reboot()?;
        running = running.other();
    }
    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, running, &release)?;
    expect_repaired(stage, &disk)
}

/// The backup is valid, and recommends the wrong slot.
fn lying_backup(disk: &Disk, running: Slot) -> Result<()> {
    let file = File::options().read(true).write(true).open(disk.path())?;
    let mut table = Table::read(&file, Which::Backup)?;
    table.set_standing(running.other(), TEMPTING);
    table.write(&file, Which::Backup)
}

fn expect_repaired(stage: &Stage, disk: &Disk) -> Result<()> {
    let file = File::open(disk.path())?;
    let (primary, backup) = (
        Table::read(&file, Which::Primary)?,
        Table::read(&file, Which::Backup)?,
    );
    ensure!(primary.agrees_with(&backup), "the tables still differ");
    let verdict = run(tool("sgdisk").arg("-v").arg(disk.path()))?;
    ensure!(
        verdict.contains("No problems found"),
        "sgdisk complains:\n{verdict}"
    );
    stage.say("both tables are repaired, sgdisk finds no problems");
    Ok(())
}
