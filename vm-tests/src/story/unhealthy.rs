//! An update that comes up without what the node is there for.

use anyhow::{Result, ensure};

use super::Story;
use super::bad_release::Victim;
use crate::guest::Conduct;
use crate::machine::End;
use crate::stage::Stage;

pub(super) const STORY: Story = Story {
    name: "unhealthy",
    shows: "a unit that has to run fails on B: at the deadline the node goes back by itself, and A says why",
    play,
};

/// Kept from the other slot's journal, for root.
const LAST_LINES: &str = "busctl get-property com.coreos.update1 /org/updateengine/Engine1/Evidence \
                          org.updateengine.Evidence1 RollbackOutput";

fn play(stage: &mut Stage) -> Result<()> {
    let said = "the application misses its data";
    // At the deadline the node reboots by itself.
    let node = Victim::of(stage, Conduct::Unhealthy, said, End::Reset)?;
    let mut machine = node.is_back(stage, "unit vm-app.service is ")?;
    let output = machine.sh(LAST_LINES)?;
    ensure!(
        output.contains(said),
        "the unit's last lines are not in the status:\n{output}"
    );
    stage.say("status: the unit's last lines");
    node.recovers(stage, machine)
}
