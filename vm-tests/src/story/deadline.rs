//! Hangs of an update that the trial deadline ends, and one that it must not end.

use anyhow::{Context as _, Result, ensure};

use super::bad_release::{HangCourse, Victim};
use super::{Control, Story};
use crate::disk::{Slot, Standing};
use crate::guest::{Conduct, Deadline, HANG_DEADLINE, Hang, Initrd, Recipe};
use crate::machine::End;
use crate::stage::{Stage, expect_running};

/// A story of a hang, with or without the deadline.
const fn hang(
    name: &'static str,
    shows: &'static str,
    play: fn(&mut Stage) -> Result<()>,
    usual: bool,
) -> Story {
    Story {
        name,
        shows,
        play,
        usual,
        control: Control {
            off: "the image sets no TRIAL_DEADLINE",
            fails: "the machine doesn't end",
        },
    }
}

pub(super) const INITRD: Story = hang(
    "deadline-initrd",
    "B hangs in the initrd: the deadline that this has armed resets, and A is back with the cause",
    |stage| {
        play(
            stage,
            Hang::Initrd,
            "this initrd hangs",
            "did not come up in time",
        )
    },
    false,
);
pub(super) const SYSINIT: Story = hang(
    "deadline-sysinit",
    "a unit of B hangs before sysinit.target: the deadline outlives the switch from the initrd, and A names the unit",
    |stage| {
        let cause = "did not come up in time: vm-stuck.service had not started";
        play(stage, Hang::Sysinit, "a unit hangs", cause)
    },
    true,
);
pub(super) const CONFEXT: Story = hang(
    "deadline-confext",
    "B hangs in the merge of configuration extensions: the deadline resets, and A names the unit",
    |stage| {
        let cause = "did not come up in time: systemd-confext.service had not started";
        play(stage, Hang::Confext, "the merge hangs", cause)
    },
    false,
);
pub(super) const DAEMON_CANT_START: Story = hang(
    "deadline-daemon",
    "B's daemon can't start: the deadline resets, and A is back with the cause",
    |stage| {
        let last_words = "Failed to start update-engine.service";
        play(stage, Hang::Daemon, last_words, "did not come up in time")
    },
    false,
);
pub(super) const SYSTEMD_FROZEN: Story = hang(
    "deadline-systemd",
    "B's systemd freezes: the deadline resets without it, and A is back with the cause",
    |stage| {
        play(
            stage,
            Hang::Systemd,
            "Freezing execution",
            "did not come up in time",
        )
    },
    false,
);
pub(super) const KEEPER_STOPPED: Story = hang(
    "deadline-softdog",
    "B hangs, and the process that keeps the deadline is stopped: the watchdog behind it resets",
    |stage| {
        let last_words = if stage.is_control() {
            "this initrd hangs"
        } else {
            "this initrd hangs, and so does the process"
        };
        play(stage, Hang::Keeper, last_words, "did not come up")
    },
    false,
);
pub(super) const KERNEL: Story = hang(
    "deadline-kernel",
    "B's kernel has panicked and stands still: the hardware watchdog resets, which the deadline has armed in the initrd",
    |stage| play(stage, Hang::Kernel, "this kernel hangs", "did not come up"),
    false,
);
pub(super) const UNIT: Story = hang(
    "deadline-unit",
    "a unit of B never becomes active, and the daemon waits for it: the deadline resets, and A names the unit",
    |stage| {
        let cause = "did not come up in time: vm-stuck.service had not started";
        play(stage, Hang::Unit, "a unit never becomes active", cause)
    },
    false,
);
pub(super) const DAEMON_STOPPED: Story = hang(
    "deadline-stopped",
    "B's daemon hangs once it has started: the deadline resets, and A is back with the cause",
    |stage| {
        play(
            stage,
            Hang::DaemonStopped,
            "the daemon is stopped",
            "did not come up in time",
        )
    },
    false,
);
pub(super) const KEPT: Story = Story {
    name: "deadline-kept",
    shows: "B's daemon is killed on trial and leaves the deadline as it was; marking B good disarms it, and nothing resets",
    play: play_kept,
    usual: false,
    control: Control {
        off: "B's daemon can't start, so that nobody marks it good",
        fails: "ended",
    },
};

/// Part of what the unit says that finds a deadline armed.
const ARMED_BEFORE: &str = "trial deadline, armed before: ";

pub(super) const INITRD_UNIT: Story = hang(
    "deadline-merge",
    "B hangs in the merge of configuration extensions by an initrd with systemd: the deadline that the documented unit has armed resets, and A is back with the cause",
    |stage| {
        let cause = "did not come up in time";
        play_in(stage, Initrd::Systemd, Hang::Initrd, &["the merge hangs"], cause)
    },
    false,
);
pub(super) const SWITCH: Story = hang(
    "deadline-switch",
    "a unit of B hangs before sysinit.target: the deadline of an initrd with systemd outlives the switch to the root, and A names the unit",
    |stage| {
        let cause = "did not come up in time: vm-stuck.service had not started";
        let words = if stage.is_control() {
            &["a unit hangs"][..]
        } else {
            &["a unit hangs", ARMED_BEFORE]
        };
        play_in(stage, Initrd::Systemd, Hang::Sysinit, words, cause)
    },
    false,
);

fn play(stage: &mut Stage, hang: Hang, last_words: &str, cause: &str) -> Result<()> {
    play_in(stage, Initrd::Busybox, hang, &[last_words], cause)
}

fn play_in(stage: &mut Stage, initrd: Initrd, hang: Hang, last_words: &[&str], cause: &str) -> Result<()> {
    let end = if hang == Hang::Kernel {
        // No systemd of B's will ever open it.
        End::Watchdog
    } else {
        stage.remove_watchdog();
        End::Reset
    };
    let deadline = match hang {
        _ if stage.is_control() => Deadline::Off,
        Hang::Initrd | Hang::Keeper | Hang::Kernel | Hang::Sysinit => Deadline::InInitrd,
        Hang::Confext | Hang::Unit | Hang::Daemon | Hang::DaemonStopped | Hang::Systemd => Deadline::InSystem,
    };
    // One that is stopped in time has not marked the slot good.
    let conduct = if hang == Hang::DaemonStopped {
        Conduct::Waits
    } else {
        Conduct::Good
    };
    let first = Recipe::new("1.0.0", Conduct::Good);
    let bad = Recipe {
        hang: Some(hang),
        deadline,
        initrd,
        ..Recipe::new("2.0.0", conduct)
    };
    let course = HangCourse {
        // The deadline is not to come before the hang. A kernel that stands still is busy.
        own_clock: hang != Hang::Kernel,
        last_words,
        end,
        cause,
    };
    let (node, machine) = Victim::rounds(stage, (&first, &bad), |stage, node| node.hangs(stage, &course))?;
    if hang == Hang::Sysinit && initrd == Initrd::Busybox {
        // So it goes after each of them.
        node.recovers(stage, machine)?;
    }
    Ok(())
}

/// The process that keeps the deadline, as the status tells it.
const KEEPER: &str =
    "update_engine_client status | sed -n 's/^Trial deadline .* process \\([0-9]*\\) resets.*/\\1/p'";
/// The same on trial, while nothing is armed.
const NOBODY: &str = "none, and nobody would end a hang";
/// Has the daemon end without a chance to do anything, and start anew.
const KILL_DAEMON: &str = "systemctl kill -s KILL update-engine; systemctl restart update-engine";

fn play_kept(stage: &mut Stage) -> Result<()> {
    stage.remove_watchdog();
    let first = Recipe::new("1.0.0", Conduct::Good);
    let second = Recipe {
        deadline: Deadline::InInitrd,
        hang: stage.is_control().then_some(Hang::Daemon),
        ..Recipe::new("2.0.0", Conduct::Waits)
    };
    Victim::rounds(stage, (&first, &second), outlives_its_deadline).map(drop)
}

/// B is on trial, is marked good by hand, and stays.
fn outlives_its_deadline(stage: &mut Stage, node: &Victim) -> Result<()> {
    stage.set_own_clock(true);
    let mut machine = stage.boot(&node.disk)?;
    expect_running(&mut machine, Slot::B, &node.second)?;
    if stage.is_control() {
        machine.console().wait_for("is marked good")?;
    }
    let keeper = machine.sh(KEEPER)?;
    ensure!(!keeper.trim().is_empty(), "the status tells of no deadline");
    machine.sh(KILL_DAEMON)?;
    let after = machine.sh(KEEPER)?;
    ensure!(
        keeper == after,
        "process {keeper} kept the deadline, now {after} does"
    );
    stage.say(format_args!("process {} keeps the deadline", keeper.trim()));
    machine.sh("update-engine-trial-deadline disarm")?;
    let status = machine.sh("update_engine_client status")?;
    let says_nobody = status
        .lines()
        .any(|line| line.starts_with("Trial deadline") && line.contains(NOBODY));
    ensure!(
        says_nobody,
        "the status is silent about a hang that nobody would end:\n{status}"
    );
    stage.say(format_args!("disarmed, the status says: {NOBODY}"));
    let armed = machine.sh("update-engine-trial-deadline")?;
    ensure!(
        armed.contains("resets the node"),
        "it is not armed again: {armed}"
    );
    machine.sh("update_engine_client mark-good")?;
    let status = machine.sh("update-engine-trial-deadline status")?;
    ensure!(status.trim() == "none", "a deadline is still armed: {status}");
    stage.say("nothing is armed any more");
    let wait = format!("while [ \"$(cut -d. -f1 /proc/uptime)\" -le {HANG_DEADLINE} ]; do sleep 1; done");
    machine.sh(&wait).context("B is reset although it is good")?;
    stage.say("the node is up after the deadline");
    stage.expect(&node.disk, Slot::B, Standing::KEPT)
}
