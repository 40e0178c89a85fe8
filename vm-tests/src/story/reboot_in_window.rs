//! A reboot by the reboot manager, and the trial that follows.

use anyhow::Result;

use super::managed_node::{ManagedNode, Reboots};
use super::{Control, Story};
use crate::disk::{Slot, Standing};
use crate::guest::Conduct;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "reboot-in-window",
    shows: "the reboot manager waits for its window and for the lock, and gives that back once B is marked good",
    play,
    usual: false,
    control: Control {
        off: "the node has no window",
        fails: "without saying \"the reboot into 2.0.0 waits for its window",
    },
};

fn play(stage: &mut Stage) -> Result<()> {
    let reboots = Reboots {
        in_window: !stage.is_control(),
        after_rollback: "hold",
    };
    let node = ManagedNode::reboot(stage, Conduct::Waits, &reboots)?;
    let mut machine = stage.boot(&node.disk)?;
    stage.expect(&node.disk, Slot::B, Standing::TRIED)?;
    expect_running(&mut machine, Slot::B, &node.second)?;
    machine
        .console()
        .wait_for("the lock is held until the running slot is found good")?;
    ManagedNode::expect_programs(&mut machine, &["pre-reboot.d"])?;
    node.expect_lock_held("while the slot is on trial")?;
    stage.say("the slot is on trial, under the lock");

    // What the trial waits for.
    machine.sh("systemd-run --unit=vm-later --remain-after-exit true")?;
    machine.console().wait_for("is marked good")?;
    machine.console().wait_for("the reboot lock is given back")?;
    node.expect_lock_free("after the slot was marked good")?;
    ManagedNode::expect_programs(&mut machine, &["pre-reboot.d", "post-good.d"])?;
    stage.say("the slot is good, the lock is free");
    stage.expect(&node.disk, Slot::B, Standing::KEPT)
}
