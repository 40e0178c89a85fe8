//! An update of which most bytes come from the running slot, which is read through dm-verity.

use anyhow::{Result, ensure};

use super::{Control, Story};
use crate::disk::{Slot, Standing};
use crate::guest::{Conduct, Recipe, Release};
use crate::machine::Machine;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "content-payload",
    shows: "a compressed btrfs with a hash tree is made of the running slot's content, read through dm-verity, and of what differs; it boots so",
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
/// Prints what the kernel says of its mappings: their nodes, names and partitions, which part of it they hold, and what is
/// mounted of them.
const MAPPINGS: &str = r#"cd /sys/block
for node in dm-*; do
    echo "$node is $(cat $node/dm/name) on $(ls $node/slaves), read-only $(cat $node/ro)"
done
[ "$(cat /sys/module/dm_verity/refcnt)" -eq 0 ] || echo dm_verity is in use
grep '^/dev/mapper/' /proc/1/mounts | cut -d ' ' -f 1-3"#;

fn play(stage: &mut Stage) -> Result<()> {
    let recipe = |version| Recipe {
        flatcar_image: true,
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
    expect_guarded(stage, &mut machine, Slot::A, &first)?;
    stage.update(&mut machine)?;
    stage.expect_content(&second)?;
    stage.expect_deltas_welcome()?;
    machine.sh(SAID)?;
    stage.expect(&disk, Slot::B, Standing::WAITING)?;
    machine.reboot()?;

    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, Slot::B, &second)?;
    expect_guarded(stage, &mut machine, Slot::B, &second)?;
    machine.console().wait_for("is marked good")?;
    stage.expect(&disk, Slot::B, Standing::KEPT)
}

/// Checks that `/usr` is the slot read through dm-verity, by the root hash of `release`.
fn expect_guarded(stage: &Stage, machine: &mut Machine, slot: Slot, release: &Release) -> Result<()> {
    let found = machine.sh(MAPPINGS)?;
    let expected = format!(
        "dm-0 is usr on vda{}, read-only 1\ndm_verity is in use\n/dev/mapper/usr /usr btrfs",
        slot.number()
    );
    ensure!(
        found == expected,
        "{slot} is not read through dm-verity:\n{found}"
    );
    let line = machine.sh("cat /proc/cmdline")?;
    let hash = release
        .root_hash
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    ensure!(
        line.contains(&format!("verity.usrhash={hash}")),
        "{slot} is not read by the root hash {hash}: {line}"
    );
    stage.say(format_args!(
        "{slot} is read through dm-verity, by the root hash {hash}"
    ));
    Ok(())
}
