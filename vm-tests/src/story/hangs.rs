//! An update that stops before anything of ours runs.

use anyhow::{Result, ensure};

use super::Story;
use super::bad_release::Victim;
use crate::guest::Conduct;
use crate::machine::End;
use crate::stage::Stage;

pub(super) const STORY: Story = Story {
    name: "hang",
    shows: "B hangs before the daemon starts: the watchdog resets, A is back, and a repaired release stays",
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let (node, machine) = Victim::of(stage, Conduct::Hangs)?;
    machine.console().wait_for("this initrd hangs")?;
    stage.say("the machine hangs");
    let end = machine.end()?;
    ensure!(end == End::Watchdog, "a hang ends in {end:?}");
    stage.say("the watchdog resets it");

    let machine = node.is_back(stage, "did not come up")?;
    node.recovers(stage, machine)
}
