//! A power cut during a download.

use std::num::NonZeroU64;

use anyhow::{Context as _, Result, ensure};

use super::{Control, Story};
use crate::disk::Slot;
use crate::guest::Conduct;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "cut-download",
    shows: "power lost in mid-download: A boots, the download goes on where it was, B boots",
    play,
    usual: true,
    control: Control {
        off: "the node forgets how far it was",
        fails: "the download began anew",
    },
};

/// Rate of the download, slow enough to cut the power in time.
const BYTES_PER_SECOND: u64 = 2_000_000;
/// Ends once a good part is there; by what the client prints, as an operator would.
const HALF_WAY: &str = "for i in $(seq 300); do \
    update_engine_client -status 2>/dev/null | grep -q '^PROGRESS=0.[5-9]' && exit; sleep 1; done; exit 1";

/// Takes the daemon's records away.
const FORGET: &str =
    "systemctl stop update-engine && rm -r /var/lib/update_engine/* && systemctl start update-engine";

fn play(stage: &mut Stage) -> Result<()> {
    let first = stage.release("1.0.0", Conduct::Good)?;
    let disk = stage.install(&first)?;
    let second = stage.release("2.0.0", Conduct::Good)?;
    let pace = NonZeroU64::new(BYTES_PER_SECOND).context("no pace")?;
    stage.offer_slowly(&second, pace)?;
    let mut machine = stage.boot(&disk)?;
    stage.configure(&mut machine)?;
    machine.sh("update_engine_client -check_for_update")?;
    machine.sh(HALF_WAY)?;
    drop(machine);
    stage.say("power is cut in mid-download");

    let standing = disk.standing(Slot::B)?;
    ensure!(
        standing.priority == 0 && standing.tries == 0,
        "half a slot is bootable: {standing}"
    );
    stage.offer(&second)?;
    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::A, &first)?;
    if stage.is_control() {
        machine.sh(FORGET)?;
    }
    stage.update(&mut machine)?;
    stage.expect_resumed()?;
    machine.reboot()?;
    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::B, &second)
}
