//! An update whose kernel panics.

use anyhow::Result;

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
    let node = Victim::of(stage, Conduct::Panics, "Kernel panic", End::Reset)?;
    let mut machine = node.is_back(stage, "did not come up")?;
    stage.wait_for_the_timer(&mut machine)?;
    stage.expect_rollback_report()?;
    stage.expect_refusal(&mut machine)?;
    node.recovers(stage, machine)
}
