//! A boot partition without space for a second kernel.

use anyhow::{Result, ensure};

use super::{Control, Story};
use crate::disk::{Slot, Standing};
use crate::guest::Conduct;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "full-boot",
    shows: "a full /boot refuses the update by name and harms nothing; with room again it succeeds",
    play,
    usual: false,
    control: Control {
        off: "/boot has room",
        fails: "the node took the update",
    },
};

/// Leaves less than 64 KiB, whatever is written at once.
const FILL: &str = "cat /dev/zero >/boot/ballast; sync; df -k /boot; test $(stat -f -c %a /boot) -lt 16";
/// Operators and tests look for these words.
const REFUSAL: &str = "Failed to copy kernel from /boot/flatcar/vmlinuz-a to /boot/flatcar/vmlinuz-b";

fn play(stage: &mut Stage) -> Result<()> {
    let first = stage.release("1.0.0", Conduct::Good)?;
    let disk = stage.install(&first)?;
    let second = stage.release("2.0.0", Conduct::Good)?;
    stage.offer(&second)?;
    let mut machine = stage.boot(&disk)?;
    stage.configure(&mut machine)?;
    if !stage.is_control() {
        machine.sh(FILL)?;
        stage.say("/boot is full");
    }
    let before = machine.sh("sha256sum /boot/flatcar/*")?;
    machine.sh("update_engine_client -update")?;
    let status = machine.sh("update_engine_client -status 2>/dev/null")?;
    ensure!(
        status.contains("CURRENT_OP=UPDATE_STATUS_IDLE"),
        "the node took the update:\n{status}"
    );
    machine.sh(&format!(
        "journalctl -u update-engine -o cat | grep -qF '{REFUSAL}'"
    ))?;
    let after = machine.sh("sha256sum /boot/flatcar/*")?;
    ensure!(before == after, "the kernels changed:\n{before}\n{after}");
    stage.say("the update is refused, the kernels are as they were");
    machine.reboot()?;

    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::A, &first)?;
    machine.sh("rm /boot/ballast")?;
    stage.say("/boot has room");
    stage.update(&mut machine)?;
    machine.reboot()?;
    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::B, &second)?;
    stage.expect(&disk, Slot::B, Standing::TRIED)
}
