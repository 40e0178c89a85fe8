//! Two updates in a row, from slot to slot and back.

use anyhow::{Context as _, Result, ensure};
use update_engine::journal::MessageId;

use super::{Control, Story};
use crate::denials;
use crate::disk::{Slot, Standing};
use crate::guest::{Conduct, Recipe, Release};
use crate::machine::Machine;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "update-and-back",
    shows: "A to B to A by two updates of Flatcar's kind, each on trial until it is marked good",
    play,
    usual: true,
    control: Control {
        off: "nobody marks the new slot good",
        fails: "without saying \"is marked good\"",
    },
};

fn play(stage: &mut Stage) -> Result<()> {
    let first = stage.release("1.0.0", Conduct::Good)?;
    let disk = stage.install(&first)?;
    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::A, &first)?;
    let page_size = machine.sh("getconf PAGESIZE")?;
    ensure!(
        page_size.trim() == stage.architecture().page_size().to_string(),
        "the kernel has pages of {page_size} bytes"
    );
    // Here for all stories: each of them fails if one of our units is killed for a call.
    denials::expect_they_kill(&mut machine)?;
    stage.say("what the daemon's unit denies kills");

    for (running, target, version) in [(Slot::A, Slot::B, "2.0.0"), (Slot::B, Slot::A, "3.0.0")] {
        let conduct = if stage.is_control() {
            Conduct::Unattended
        } else {
            Conduct::Good
        };
        let release = stage.make(&Recipe {
            compressed: true,
            ..Recipe::new(version, conduct)
        })?;
        stage.offer(&release)?;
        stage.update(&mut machine)?;
        expect_told(&mut machine, &release)?;
        stage.say("systemctl and journalctl tell of it");
        stage.expect(&disk, running, Standing::GOOD)?;
        stage.expect(&disk, target, Standing::WAITING)?;
        machine.reboot()?;

        machine = stage.boot(&disk)?;
        stage.expect(&disk, target, Standing::TRIED)?;
        expect_running(&mut machine, target, &release)?;
        machine.console().wait_for("is marked good")?;
        stage.expect(&disk, target, Standing::KEPT)?;
        stage.expect(&disk, running, Standing::GOOD)?;
    }
    Ok(())
}

/// Checks that whoever looks at the service, or for the event in the journal, learns that `release`
/// is installed.
fn expect_told(machine: &mut Machine, release: &Release) -> Result<()> {
    let (version, id) = (&release.version, MessageId::Installed.id());
    // The service manager and the journal hear of it a moment after the bus.
    machine
        .sh(&format!(
            r#"for look in $(seq 100); do
    status=$(systemctl status update-engine)
    event=$(journalctl -b -q -o cat MESSAGE_ID={id} UPDATE_VERSION={version})
    case $status in *'Status: "{version} is installed: reboot to use it"'*) [ -z "$event" ] || exit 0 ;; esac
    sleep 0.2
done
echo "$status"; echo "$event"
exit 1"#
        ))
        .with_context(|| format!("{version} is installed, and it is not told"))?;
    Ok(())
}
