//! Slots below merged extensions, marked good by another program than the daemon.

use anyhow::{Result, ensure};

use super::{Control, Story};
use crate::disk::{Slot, Standing};
use crate::guest::{Conduct, Daemon, Recipe};
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "merged-extensions",
    shows: "extensions over /usr and /etc: A to B to A, marked good each time by flatcar-setgoodroot",
    play,
    usual: false,
    control: Control {
        off: "the daemon looks below what is merged: an earlier one takes the topmost mount for the slot",
        fails: "sysext is no block device",
    },
};

fn play(stage: &mut Stage) -> Result<()> {
    let first = stage.make(&Recipe {
        daemon: if stage.is_control() {
            Daemon::Earlier
        } else {
            Daemon::Todays
        },
        ..Recipe::new("1.0.0", Conduct::Good)
    })?;
    let disk = stage.install(&first)?;
    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::A, &first)?;

    for (running, target, version) in [(Slot::A, Slot::B, "2.0.0"), (Slot::B, Slot::A, "3.0.0")] {
        let release = stage.release(version, Conduct::Waits)?;
        stage.offer(&release)?;
        stage.update(&mut machine)?;
        stage.expect(&disk, target, Standing::WAITING)?;
        machine.reboot()?;

        machine = stage.boot(&disk)?;
        expect_running(&mut machine, target, &release)?;
        stage.expect(&disk, target, Standing::TRIED)?;
        let said = machine.sh("flatcar-setgoodroot && sync")?;
        ensure!(said.trim().is_empty(), "flatcar-setgoodroot says {said:?}");
        stage.expect(&disk, target, Standing::KEPT)?;
        stage.expect(&disk, running, Standing::GOOD)?;
    }
    Ok(())
}
