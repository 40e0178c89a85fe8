//! An update that stops before anything of ours runs.

use anyhow::{Result, ensure};

use super::Story;
use crate::disk::{Slot, Standing};
use crate::guest::Conduct;
use crate::machine::End;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "hang",
    shows: "B hangs before the daemon starts: the watchdog resets, and A is back",
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let first = stage.release("1.0.0", Conduct::Good)?;
    let disk = stage.install(&first)?;
    let broken = stage.release("2.0.0", Conduct::Hangs)?;
    stage.offer(&broken)?;
    let mut machine = stage.boot(&disk)?;
    stage.update(&mut machine)?;
    machine.reboot()?;

    let machine = stage.boot(&disk)?;
    machine.console().wait_for("this initrd hangs")?;
    stage.say("the machine hangs");
    let end = machine.end()?;
    ensure!(end == End::Watchdog, "a hang ends in {end:?}");
    stage.say("the watchdog resets it");

    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::A, &first)?;
    stage.expect(
        &disk,
        Slot::A,
        Standing {
            priority: 1,
            tries: 0,
            successful: true,
        },
    )?;
    stage.expect(
        &disk,
        Slot::B,
        Standing {
            priority: 2,
            tries: 0,
            successful: false,
        },
    )
}
