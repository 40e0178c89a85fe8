//! Two updates in a row, from slot to slot and back.

use anyhow::Result;

use super::Story;
use crate::disk::{Slot, Standing};
use crate::guest::Conduct;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "update-and-back",
    shows: "A to B to A by two updates, each on trial until it is marked good",
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let first = stage.release("1.0.0", Conduct::Good)?;
    let disk = stage.install(&first)?;
    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::A, &first)?;

    for (running, target, version) in [(Slot::A, Slot::B, "2.0.0"), (Slot::B, Slot::A, "3.0.0")] {
        let release = stage.release(version, Conduct::Good)?;
        stage.offer(&release)?;
        stage.update(&mut machine)?;
        stage.expect(&disk, running, Standing::GOOD)?;
        stage.expect(&disk, target, Standing::WAITING)?;
        machine.reboot()?;

        machine = stage.boot(&disk)?;
        stage.expect(&disk, target, Standing::TRIED)?;
        expect_running(&mut machine, target, &release)?;
        machine.console().wait_for("is marked good")?;
        stage.expect(&disk, target, Standing::KEPT)?;
        stage.expect(&disk, running, Standing::GOOD)?;
    }
    Ok(())
}
