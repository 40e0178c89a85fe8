//! A reboot by the reboot manager into an update that fails.

use anyhow::{Result, ensure};

use super::bad_release::Victim;
use super::managed_node::{ManagedNode, Reboots};
use super::{Control, Story};
use crate::disk::{Slot, Standing};
use crate::guest::Conduct;
use crate::machine::End;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "bad-version-keeps-lock",
    shows: "a unit that has to run fails on B: the node goes back by itself and says why; the reboot manager keeps the lock, which \
            says so, until an operator releases it",
    play,
    usual: true,
    control: Control {
        off: "AFTER_ROLLBACK=release: the lock is given back after a rollback",
        fails: "the lock is free after the rollback",
    },
};

/// The last words of the application, which a unit of the image has to run.
const SAID: &str = "the application misses its data";
/// Ends once the manager knows where the node stands.
const SETTLED: &str = r#"status=/run/update-reboot-manager/status.json
for look in $(seq 600); do
    grep -qE '"phase": "(held-after-rollback|idle)"' $status && exit 0
    sleep 0.2
done
cat $status
exit 1"#;

fn play(stage: &mut Stage) -> Result<()> {
    let reboots = Reboots {
        in_window: true,
        after_rollback: if stage.is_control() { "release" } else { "hold" },
    };
    let node = ManagedNode::reboot(stage, Conduct::Unhealthy, &reboots)?;
    let machine = stage.boot(&node.disk)?;
    stage.expect(&node.disk, Slot::B, Standing::TRIED)?;
    machine.console().wait_for(SAID)?;
    // At the deadline the node reboots by itself.
    let end = machine.end()?;
    ensure!(end == End::Reset, "the machine ends in {end:?}");
    node.expect_lock_held("when the node gives the release up")?;

    let mut machine = stage.boot(&node.disk)?;
    stage.expect(&node.disk, Slot::A, Standing::GOOD)?;
    expect_running(&mut machine, Slot::A, &node.first)?;
    machine.sh(SETTLED)?;
    Victim::tells_last_lines(stage, &mut machine, SAID)?;
    node.expect_lock_held("after the rollback")?;
    let told = node.told_of_rollback(&mut machine)?;
    let why = "rolled back from 2.0.0: unit vm-app.service is ";
    ensure!(
        told.starts_with(why),
        "the lock is kept, and the reason is {told:?}"
    );
    stage.say(format_args!("reboot-lock status: {told}"));
    // What was drained came back, although the lock is kept.
    ManagedNode::expect_programs(&mut machine, &["pre-reboot.d", "post-good.d"])?;
    machine.sh("update_engine_client reboot-lock release")?;
    node.expect_lock_free("after an operator has released it")?;
    stage.say("an operator has released the lock");
    Ok(())
}
