//! An update of which most bytes come from the running slot.

use anyhow::Result;

use super::{Control, Story};
use crate::disk::{Slot, Standing};
use crate::guest::{Conduct, Recipe};
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "content-payload",
    shows: "a compressed btrfs is made of the running slot's content and of what differs; it boots",
    play,
    usual: false,
    control: Control {
        off: "`CONTENT_PAYLOADS=off`: the node takes the first package, as any other does",
        fails: "the payload was fetched",
    },
};

/// The daemon's last words of it.
const SAID: &str =
    "journalctl -b -u update-engine -o cat | grep -c 'the image was made by content package update.content'";

fn play(stage: &mut Stage) -> Result<()> {
    let recipe = |version| Recipe {
        btrfs: true,
        ..Recipe::new(version, Conduct::Good)
    };
    let first = stage.make(&recipe("1.0.0"))?;
    let second = stage.make(&recipe("2.0.0"))?;
    let disk = stage.install(&first)?;
    stage.offer_content(&second)?;
    let taken = if stage.is_control() { "off" } else { "on" };
    stage.set_settings(format!("CONTENT_PAYLOADS={taken}\n"));
    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::A, &first)?;
    stage.update(&mut machine)?;
    stage.expect_content(&second)?;
    machine.sh(SAID)?;
    stage.expect(&disk, Slot::B, Standing::WAITING)?;
    machine.reboot()?;

    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::B, &second)?;
    machine.console().wait_for("is marked good")?;
    stage.expect(&disk, Slot::B, Standing::KEPT)
}
