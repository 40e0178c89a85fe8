//! An update that stops before anything of ours runs.

use anyhow::Result;

use super::bad_release::Victim;
use super::{Control, Story};
use crate::guest::Conduct;
use crate::machine::End;
use crate::stage::Stage;

pub(super) const STORY: Story = Story {
    name: "hang",
    shows: "B hangs before the daemon starts: the watchdog resets, A is back, and a repaired release stays",
    play,
    usual: false,
    control: Control {
        off: "the machine has no watchdog",
        fails: "the machine doesn't end",
    },
};

fn play(stage: &mut Stage) -> Result<()> {
    if stage.is_control() {
        stage.remove_watchdog();
    }
    let node = Victim::of(stage, Conduct::Hangs, "this initrd hangs", End::Watchdog)?;
    let machine = node.is_back(stage, "did not come up")?;
    node.recovers(stage, machine)
}
