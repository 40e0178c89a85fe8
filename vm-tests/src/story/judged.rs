//! Images that the node looks at before it switches to them: whether they merge its extensions, are for
//! its board, and belong to their kernel. No slot but the first is booted.

use std::fs::File;

use anyhow::{Context as _, Result, ensure};

use super::{Control, Story};
use crate::disk::gpt::{self, Table, Which};
use crate::disk::{Disk, Slot, Standing};
use crate::guest::{Conduct, Daemon, Debian, Misfit, Recipe, Release};
use crate::machine::Machine;
use crate::stage::{Stage, expect_running};

pub(super) const EXTENSION_JUDGED: Story = Story {
    name: "extension-judged",
    shows: "an image that would not merge the node's extensions: refused before the first write, or taken with a warning before the switch",
    play: extension_judged,
    usual: false,
    control: Control {
        off: "EXTENSIONS_JUDGED=off: nobody looks at the node's extensions",
        fails: "the node took the update",
    },
};

pub(super) const WRONG_BOARD: Story = Story {
    name: "wrong-board",
    shows: "an image for another board: refused before the first write by its manifest, or before its postinst by what is in the slot",
    play: wrong_board,
    usual: false,
    control: Control {
        off: "the node looks at boards: an earlier daemon doesn't",
        fails: "the node took the update",
    },
};

pub(super) const WRONG_KERNEL: Story = Story {
    name: "wrong-kernel",
    shows: "a kernel with the dm-verity root hash of another image: refused before the reboot; the image's own is taken",
    play: wrong_kernel,
    usual: false,
    control: Control {
        off: "the node looks at root hashes: an earlier daemon doesn't",
        fails: "the node took the update",
    },
};

/// Prints what the daemon has logged since the last time.
const JOURNAL: &str = "journalctl -b -u update-engine -o cat --cursor-file=/run/journal-seen WHERE";
/// Standing of a slot that doesn't boot.
const UNBOOTABLE: Standing = Standing::new(0, 0, false);

/// A node that runs from slot A, with an older release in slot B to fall back to.
struct JudgingNode {
    disk: Disk,
    machine: Machine,
}

impl JudgingNode {
    /// With an earlier daemon if this is a control run in which that turns `off` what is shown.
    fn boot(stage: &mut Stage, off: bool) -> Result<Self> {
        let daemon = if stage.is_control() && off {
            Daemon::Earlier
        } else {
            Daemon::Todays
        };
        let first = stage.make(&Recipe {
            daemon,
            // The earlier one takes it for the slot.
            extended: daemon == Daemon::Todays,
            ..Recipe::new("1.0.0", Conduct::Good)
        })?;
        let disk = stage.install(&first)?;
        gpt::set_standing(disk.path(), Slot::A, Standing::KEPT)?;
        gpt::set_standing(disk.path(), Slot::B, Standing::GOOD)?;
        let mut machine = stage.boot(&disk)?;
        expect_running(&mut machine, Slot::A, &first)?;
        Ok(Self { disk, machine })
    }

    /// Offers a release and has the node refuse it for this reason, with nothing written to the table or, if `was_written`,
    /// with the slot left unbootable.
    fn refuses(&mut self, stage: &Stage, release: &Release, reason: &str, was_written: bool) -> Result<()> {
        let before = self.tables()?;
        stage.offer(release)?;
        stage.configure(&mut self.machine)?;
        self.machine.sh("update_engine_client -update")?;
        let status = self.machine.sh("update_engine_client -status 2>/dev/null")?;
        ensure!(
            status.contains("CURRENT_OP=UPDATE_STATUS_IDLE"),
            "the node took the update:\n{status}"
        );
        let why = self.machine.sh("update_engine_client why")?;
        stage.say(format_args!("update_engine_client why:\n{why}"));
        ensure!(why.contains(reason), "the node is silent about {reason:?}");
        self.machine.sh("test ! -e /etc/postinst-was-here")?;
        stage.expect(&self.disk, Slot::A, Standing::KEPT)?;
        if was_written {
            return stage.expect(&self.disk, Slot::B, UNBOOTABLE);
        }
        stage.expect(&self.disk, Slot::B, Standing::GOOD)?;
        ensure!(before == self.tables()?, "the partition table was written");
        Ok(())
    }

    /// Offers a release that the node takes.
    fn takes(&mut self, stage: &Stage, release: &Release) -> Result<()> {
        stage.offer(release)?;
        stage.update(&mut self.machine)?;
        stage.expect(&self.disk, Slot::A, Standing::GOOD)?;
        stage.expect(&self.disk, Slot::B, Standing::WAITING)
    }

    fn tables(&self) -> Result<[Table; 2]> {
        let disk = File::open(self.disk.path())?;
        Ok([
            Table::read(&disk, Which::Primary)?,
            Table::read(&disk, Which::Backup)?,
        ])
    }
}

/// Each of the node's extensions, which the image doesn't merge.
fn lost(debian: Debian) -> Vec<String> {
    let version = debian.version();
    let lost = |extension| {
        format!(
            "the new image will not merge the {extension}: it is for VERSION_ID={version}, the image has 99"
        )
    };
    let confext = debian.has_confexts().then_some("confext vm-settings");
    let extensions = [Some("sysext vm-extension"), confext];
    extensions.into_iter().flatten().map(lost).collect()
}

fn extension_judged(stage: &mut Stage) -> Result<()> {
    let mut node = JudgingNode::boot(stage, false)?;
    let judging = if stage.is_control() { "off" } else { "refuse" };
    stage.set_settings(format!("EXTENSIONS_JUDGED={judging}\n"));
    let refused = stage.unbooted("2.0.0", Misfit::Extensions)?;
    let lost = lost(refused.debian);
    node.refuses(stage, &refused, &lost[0], false)?;

    stage.set_settings(String::new());
    node.machine.sh(&JOURNAL.replace("WHERE", ">/dev/null"))?;
    node.takes(stage, &stage.unbooted("2.0.1", Misfit::Extensions)?)?;
    let status = node.machine.sh("update_engine_client status")?;
    stage.say(format_args!("update_engine_client status:\n{status}"));
    // The image's postinst runs before the switch.
    let before = "| sed -n '/postinst of 2.0.1/q;p'";
    let journal = node.machine.sh(&JOURNAL.replace("WHERE", before))?;
    for lost in &lost {
        ensure!(status.contains(lost), "the status is silent about {lost:?}");
        ensure!(
            journal.contains(lost),
            "the journal is silent about {lost:?} before the switch:\n{journal}"
        );
    }
    Ok(())
}

fn wrong_board(stage: &mut Stage) -> Result<()> {
    let mut node = JudgingNode::boot(stage, true)?;
    let reason = "-generic, this node runs that of ";
    let by_manifest = stage.unbooted("2.0.0", Misfit::Board)?;
    node.refuses(stage, &by_manifest, reason, false)?;
    let in_the_slot = stage.unbooted("2.0.1", Misfit::BoardOfReleaseFile)?;
    node.refuses(stage, &in_the_slot, reason, true)?;
    node.takes(stage, &stage.unbooted("2.0.2", Misfit::None)?)
}

fn wrong_kernel(stage: &mut Stage) -> Result<()> {
    let mut node = JudgingNode::boot(stage, true)?;
    let reason = "vmlinuz-b belongs to another image: it insists on a /usr with the dm-verity root hash";
    node.refuses(stage, &stage.unbooted("2.0.0", Misfit::Kernel)?, reason, true)?;
    node.takes(stage, &stage.unbooted("2.0.1", Misfit::None)?)
        .context("with its own kernel")
}
