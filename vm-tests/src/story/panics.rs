//! An update whose kernel panics.

use anyhow::{Result, ensure};

use super::Story;
use crate::disk::{Slot, Standing};
use crate::guest::Conduct;
use crate::machine::End;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "panic",
    shows: "B's kernel panics: A is back and reports it, and a repaired update stays",
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let first = stage.release("1.0.0", Conduct::Good)?;
    let disk = stage.install(&first)?;
    let broken = stage.release("2.0.0", Conduct::Panics)?;
    stage.offer(&broken)?;
    let mut machine = stage.boot(&disk)?;
    stage.update(&mut machine)?;
    machine.reboot()?;

    let machine = stage.boot(&disk)?;
    machine.console().wait_for("Kernel panic")?;
    let end = machine.end()?;
    ensure!(end == End::Reset, "a panic ends in {end:?}");
    stage.say("the kernel panics, the machine resets");

    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::A, &first)?;
    stage.expect(
        &disk,
        Slot::B,
        Standing {
            priority: 2,
            tries: 0,
            successful: false,
        },
    )?;

    let repaired = stage.release("2.0.1", Conduct::Good)?;
    stage.offer(&repaired)?;
    stage.update(&mut machine)?;
    stage.expect_rollback_report()?;
    machine.reboot()?;
    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::B, &repaired)?;
    machine.console().wait_for("is marked good")?;
    stage.expect(
        &disk,
        Slot::B,
        Standing {
            priority: 2,
            tries: 0,
            successful: true,
        },
    )
}
