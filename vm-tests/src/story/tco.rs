//! The chipset's watchdog, which the slot loader arms: hangs of an update before anything of it
//! runs, and one update that takes the watchdog over.

use anyhow::{Context as _, Result, ensure};

use super::bad_release::{HangCourse, Victim};
use super::{Control, Story};
use crate::disk::{Slot, Standing};
use crate::guest::{Conduct, OPEN_TIMEOUT, Recipe, Takeover};
use crate::machine::End;
use crate::stage::{Stage, expect_running};

/// The loader's line.
const ARMED: &str = "slot-loader: armed the TCO timer";

pub(super) const BEFORE_DRIVER: Story = Story {
    name: "tco-kernel",
    shows: "B hangs before its kernel has a driver for the watchdog: the timer that the loader has armed resets, and A is back",
    play: |stage| play_hang(stage, Takeover::HangsBefore),
    usual: false,
    control: NO_FILE,
};
pub(super) const AFTER_DRIVER: Story = Story {
    name: "tco-initrd",
    shows: "B hangs in the initrd with the driver loaded: the kernel stops feeding after the time that the loader has set, and A is back",
    play: |stage| play_hang(stage, Takeover::HangsAfter),
    usual: false,
    control: NO_FILE,
};
const NO_FILE: Control = Control {
    off: "no file says that B's kernel takes the watchdog over: the loader arms nothing",
    fails: "the machine doesn't end",
};
pub(super) const KEPT: Story = Story {
    name: "tco-kept",
    shows: "B takes the armed watchdog over and is marked good: systemd feeds it, nothing resets, and the loader arms nothing any more",
    play: play_kept,
    usual: false,
    control: Control {
        off: "B's systemd has no RuntimeWatchdogSec: nobody opens the watchdog",
        fails: "the machine has ended",
    },
};

fn play_hang(stage: &mut Stage, takeover: Takeover) -> Result<()> {
    stage.watch_by_chipset()?;
    let first = Recipe::new("1.0.0", Conduct::Good);
    let bad = Recipe {
        takeover: Some(takeover),
        handover: !stage.is_control(),
        ..Recipe::new("2.0.0", Conduct::Good)
    };
    let course = HangCourse {
        // The timer is not to end a boot that a busy host makes slow.
        own_clock: true,
        last_words: &["this initrd hangs"],
        end: End::Watchdog,
        cause: "did not come up",
    };
    let round = |stage: &mut Stage, node: &Victim| {
        let machine = node.hangs(stage, &course)?;
        ensure!(!machine.console().text().contains(ARMED), "A is good, and armed");
        Ok(())
    };
    Victim::rounds(stage, (&first, &bad), round).map(drop)
}

/// Waits until a timer that nobody has opened so far would have reset: the kernel's time counts from
/// its driver's start, which is over, and the driver's own 30 s pass twice.
fn outlive() -> String {
    let seconds = OPEN_TIMEOUT + 90;
    format!(
        "up() {{ cut -d. -f1 /proc/uptime; }}; end=$(($(up) + {seconds})); \
         while [ \"$(up)\" -le $end ]; do sleep 1; done"
    )
}

fn play_kept(stage: &mut Stage) -> Result<()> {
    stage.watch_by_chipset()?;
    let first = Recipe::new("1.0.0", Conduct::Good);
    let takeover = if stage.is_control() {
        Takeover::Unopened
    } else {
        Takeover::Fed
    };
    let second = Recipe {
        takeover: Some(takeover),
        handover: true,
        ..Recipe::new("2.0.0", Conduct::Good)
    };
    Victim::rounds(stage, (&first, &second), takes_watchdog_over).map(drop)
}

/// B is booted with the timer armed, is marked good, and stays.
fn takes_watchdog_over(stage: &mut Stage, node: &Victim) -> Result<()> {
    stage.set_own_clock(true);
    let mut machine = stage.boot(&node.disk)?;
    let armed = machine.console().wait_for(ARMED)?;
    stage.say(armed);
    expect_running(&mut machine, Slot::B, &node.second)?;
    machine.console().wait_for("is marked good")?;
    stage.expect(&node.disk, Slot::B, Standing::KEPT)?;
    let watchdog = machine.sh("cd /sys/class/watchdog/watchdog0; cat identity state timeout")?;
    stage.say(format_args!(
        "watchdog0: {}",
        watchdog.split_whitespace().collect::<Vec<_>>().join(" ")
    ));
    machine.sh(&outlive()).context("B is reset although it is good")?;
    ensure!(
        watchdog.starts_with("iTCO_wdt\nactive\n"),
        "systemd has not opened the watchdog: {watchdog}"
    );
    stage.say("the node is up after the kernel's time");
    machine.reboot()?;

    let mut machine = stage.boot(&node.disk)?;
    expect_running(&mut machine, Slot::B, &node.second)?;
    ensure!(!machine.console().text().contains(ARMED), "B is good, and armed");
    stage.say("nothing is armed for a good slot");
    Ok(())
}
