//! Updates that lose what was well before, on nodes where nobody has configured a health check.

use anyhow::{Result, ensure};

use super::bad_release::Victim;
use super::{Control, Story};
use crate::disk::{Slot, Standing};
use crate::guest::{Conduct, Recipe, UNIT};
use crate::machine::{End, Machine};
use crate::stage::Stage;

pub(super) const EXTENSION_LOST: Story = Story {
    name: "extension-lost",
    shows: "B doesn't merge an extension that A had, and with it a unit: the node goes back by itself, and both are named",
    play: extension_lost,
    usual: true,
    control: Control {
        off: "what was well before is not looked for",
        fails: "successful 1",
    },
};

pub(super) const UNIT_LOST: Story = Story {
    name: "unit-lost",
    shows: "B lacks the program of a unit of the operator's: the node goes back by itself, and names both",
    play: unit_lost,
    usual: false,
    control: Control {
        off: "what was well before is not looked for",
        fails: "successful 1",
    },
};

pub(super) const UNIT_FLAPS: Story = Story {
    name: "unit-flaps",
    shows: "a unit of the operator's ends again and again on B: the slot is kept, and the unit reported",
    play: unit_flaps,
    usual: false,
    control: Control {
        off: "what was well before is not looked for",
        fails: "is silent about",
    },
};

/// A unit of the operator's that runs a program of the image.
const OPERATORS: &str = "vm-operators.service";
const UNIT_FILE: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/usr/share/vm/helper\nRestart=always\n\
                         RestartSec=1\n[Install]\nWantedBy=multi-user.target\n";

/// The daemon records what is well once the system has been up for ten minutes: here it takes the
/// system for older than it is. It gives systemd 30 s to answer, and tries again an hour later: here it is
/// started anew. The machine has a clock of its own, or a busy host alone would make that too short.
const RECORD: &str = r"set -e
    mkdir -p /etc/systemd/system/update-engine.service.d
    printf '[Service]\nBindReadOnlyPaths=-/run/vm-uptime:/proc/uptime\n' \
        >/etc/systemd/system/update-engine.service.d/uptime.conf
    echo '4000.00 0.00' >/run/vm-uptime
    systemctl daemon-reload
    for start in $(seq 5); do
        systemctl restart update-engine
        pid=$(systemctl show -P MainPID update-engine)
        for look in $(seq 300); do
            ! grep -qs UNIT /var/lib/update_engine/baseline || exit 0
            ! journalctl -b -o cat _PID=$pid | grep -q 'what is well is not recorded' || break
            sleep 0.2
        done
    done
    journalctl -b -u update-engine -o cat -n 20
    exit 1";

const MARKED_GOOD: &str = "USR-B is marked good";
/// The words with which a trial ends; what follows is the gate's.
const PASSED: &str = "trial of the running slot: passed";

/// Waits until the daemon has recorded that `unit` is well.
fn record(machine: &mut Machine, unit: &str) -> Result<()> {
    machine.sh(&RECORD.replace("UNIT", unit)).map(drop)
}

fn add_operators_unit(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!(
        "set -e; printf '{UNIT_FILE}' >/etc/systemd/system/{OPERATORS}; systemctl enable --now {OPERATORS}"
    ))?;
    record(machine, OPERATORS)
}

/// A release that behaves like that, gated unless this is a control run.
fn bad(stage: &Stage, conduct: Conduct) -> Recipe<'static> {
    Recipe {
        gated: !stage.is_control(),
        ..Recipe::new("2.0.0", conduct)
    }
}

/// A node that goes back from the bad release by itself. In a control run it stays, and is found good.
fn left(
    stage: &mut Stage,
    bad: &Recipe<'_>,
    prepare: impl FnOnce(&mut Machine) -> Result<()>,
) -> Result<Victim> {
    stage.set_own_clock(true);
    let first = Recipe::new("1.0.0", Conduct::Good);
    if !stage.is_control() {
        return Victim::prepared(stage, &first, bad, prepare, PASSED, End::Reset);
    }
    let (node, machine) = Victim::boot(stage, &first, bad, prepare)?;
    machine.console().wait_for(MARKED_GOOD)?;
    stage.expect(&node.disk, Slot::B, Standing::TRIED)?;
    Ok(node)
}

/// Prints what a command prints once the daemon has looked around, or what it prints at last.
const LOOK: &str = "for look in $(seq 100); do shown=$(COMMAND); case $shown in *'WORDS'*) break ;; esac; sleep 0.2; done; \
                    printf '%s\\n' \"$shown\"";

/// Checks that what a command prints has all of `expected`, and shows it.
fn expect_shown(stage: &Stage, machine: &mut Machine, command: &str, expected: &[&str]) -> Result<()> {
    // As a word of the shell's.
    let first = expected
        .first()
        .map_or_else(String::new, |words| words.replace('\'', "'\\''"));
    let shown = machine.sh(&LOOK.replace("COMMAND", command).replace("WORDS", &first))?;
    stage.say(format_args!("{command}:\n{shown}"));
    for words in expected {
        ensure!(
            shown.contains(words),
            "{command} is silent about {words:?}:\n{shown}"
        );
    }
    Ok(())
}

fn extension_lost(stage: &mut Stage) -> Result<()> {
    let bad = bad(stage, Conduct::LosesExtensions);
    let node = left(stage, &bad, |machine| record(machine, UNIT))?;
    let mut machine = node.is_back(
        stage,
        "lost with the update: extension vm-extension is not merged",
    )?;
    let both = [
        "extension vm-extension is not merged, although /var/lib/extensions/vm-extension.raw is there",
        "unit vm-extension.service can't be found: it came with extension vm-extension",
    ];
    expect_shown(stage, &mut machine, "update_engine_client why", &both)?;
    expect_shown(stage, &mut machine, "update_engine_client health", &both)
}

fn unit_lost(stage: &mut Stage) -> Result<()> {
    let bad = bad(stage, Conduct::LacksHelper);
    let node = left(stage, &bad, add_operators_unit)?;
    let mut machine = node.is_back(stage, "lost with the update: unit vm-operators.service")?;
    let lost = ["unit vm-operators.service has no program any more: /usr/share/vm/helper is missing"];
    expect_shown(stage, &mut machine, "update_engine_client why", &lost)
}

fn unit_flaps(stage: &mut Stage) -> Result<()> {
    stage.set_own_clock(true);
    let (first, bad) = (
        Recipe::new("1.0.0", Conduct::Good),
        bad(stage, Conduct::BreaksHelper),
    );
    let (node, mut machine) = Victim::boot(stage, &first, &bad, add_operators_unit)?;
    machine.console().wait_for(MARKED_GOOD)?;
    stage.expect(&node.disk, Slot::B, Standing::KEPT)?;
    let unit = ["unit vm-operators.service"];
    expect_shown(stage, &mut machine, "update_engine_client why", &unit)?;
    expect_shown(stage, &mut machine, "update_engine_client health", &unit)?;
    expect_shown(stage, &mut machine, "update_engine_client status", &unit)
}
