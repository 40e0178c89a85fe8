//! An update whose kernel panics.

use anyhow::Result;

use super::bad_release::Victim;
use super::{Control, Story};
use crate::guest::Conduct;
use crate::machine::End;
use crate::stage::Stage;

pub(super) const STORY: Story = Story {
    name: "panic",
    shows: "B's kernel panics: A is back, reports it, leaves the release alone, and a repaired one stays",
    play,
    usual: true,
    control: Control {
        off: "a boot spends no try",
        fails: "not USR-A runs",
    },
};

fn play(stage: &mut Stage) -> Result<()> {
    if stage.is_control() {
        stage.give_tries_back();
    }
    let node = Victim::of(stage, Conduct::Panics, "Kernel panic", End::Reset)?;
    let mut machine = node.is_back(stage, "did not come up")?;
    Victim::blames(stage, &mut machine)?;
    node.recovers(stage, machine)
}
