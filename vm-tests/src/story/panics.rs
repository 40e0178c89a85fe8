//! An update whose kernel panics.

use anyhow::{Result, ensure};

use super::Story;
use super::bad_release::Victim;
use crate::guest::Conduct;
use crate::machine::End;
use crate::stage::Stage;

pub(super) const STORY: Story = Story {
    name: "panic",
    shows: "B's kernel panics: A is back, reports it, leaves the release alone, and a repaired one stays",
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let (node, machine) = Victim::of(stage, Conduct::Panics)?;
    machine.console().wait_for("Kernel panic")?;
    let end = machine.end()?;
    ensure!(end == End::Reset, "a panic ends in {end:?}");
    stage.say("the kernel panics, the machine resets");

    let mut machine = node.is_back(stage, "did not come up")?;
    stage.wait_for_the_timer(&mut machine)?;
    stage.expect_rollback_report()?;
    stage.expect_refusal(&mut machine)?;
    node.recovers(stage, machine)
}
