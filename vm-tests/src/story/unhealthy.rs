//! An update that comes up without the node's application.

use anyhow::Result;

use super::bad_release::Victim;
use super::{Control, Story};
use crate::guest::Conduct;
use crate::machine::End;
use crate::stage::Stage;

pub(super) const STORY: Story = Story {
    name: "unhealthy",
    shows: "a unit that has to run fails on B: at the deadline the node goes back by itself, and A says why",
    play,
    usual: false,
    control: Control {
        off: "no unit is required",
        fails: "successful 1",
    },
};

fn play(stage: &mut Stage) -> Result<()> {
    let said = "the application misses its data";
    // At the deadline the node reboots by itself.
    let conduct = if stage.is_control() {
        Conduct::Unjudged
    } else {
        Conduct::Unhealthy
    };
    let node = Victim::of(stage, conduct, said, End::Reset)?;
    let mut machine = node.is_back(stage, "unit vm-app.service is ")?;
    Victim::tells_last_lines(stage, &mut machine, said)?;
    node.recovers(stage, machine)
}
