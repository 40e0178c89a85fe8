//! Updates that are staged: kept through a power cut, activated by an orderly reboot or by order,
//! withdrawn; and the image's own program, which switches slots by itself.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Control, Story};
use crate::disk::{Disk, Slot, Standing};
use crate::guest::{Conduct, Recipe, Release};
use crate::machine::{End, Machine};
use crate::stage::{Stage, expect_running};

pub(super) const CUT: Story = Story {
    name: "staged-cut",
    shows: "an update that a reboot is to activate, and the power fails: the old version comes up, and an orderly reboot \
            activates the update after all",
    play: cut,
    usual: false,
    control: Control {
        off: "the update is activated at once",
        fails: "not USR-A runs",
    },
};

pub(super) const REBOOT: Story = Story {
    name: "staged-reboot",
    shows: "an update is staged, no loader takes it and nothing asks for a reboot; an orderly reboot activates it, and it is kept",
    play: reboot,
    usual: true,
    control: Control {
        off: "the update waits for an order",
        fails: "not USR-B runs",
    },
};

pub(super) const AUTOMOUNT: Story = Story {
    name: "staged-automount",
    shows: "/boot is mounted on demand, and unmounted when nobody uses it for two seconds: an orderly reboot activates the \
            update all the same",
    play: automount,
    usual: false,
    control: Control {
        off: "nothing keeps /boot in use",
        fails: "not USR-B runs",
    },
};

pub(super) const DOWN: Story = Story {
    name: "staged-down",
    shows: "what an orderly reboot is to activate, nothing else does: its unit is stopped, the daemon starts anew, the machine \
            is powered off, reached by a kexec, reboots softly",
    play: down,
    usual: false,
    control: Control {
        off: "its unit activates at any shutdown, as it would below shutdown.target",
        fails: "not USR-A runs",
    },
};

pub(super) const ORDER: Story = Story {
    name: "staged-order",
    shows: "an orderly reboot leaves what waits for an order; once that has come, a power cut boots it",
    play: order,
    usual: false,
    control: Control {
        off: "no order comes",
        fails: "not USR-B runs",
    },
};

pub(super) const POSTINST: Story = Story {
    name: "staged-postinst",
    shows: "an image's postinst finds the disk by its partition and calls cgpt to switch the slot, as Flatcar's does: it believes \
            that it has, the slot stays unbootable, and nothing is left of what it saw, not by a daemon that was killed either",
    play: postinst,
    usual: false,
    control: Control {
        off: "a drop-in lets the postinst write to disks",
        fails: "in postinst's reach",
    },
};

pub(super) const WITHDRAWN: Story = Story {
    name: "staged-withdrawn",
    shows: "an update that a reboot is to activate is withdrawn, and a manager that has seen it reboots all the same: the old \
            version comes up",
    play: withdrawn,
    usual: false,
    control: Control {
        off: "nobody withdraws it",
        fails: "not USR-A runs",
    },
};

/// The host's cgpt, which the guest gets.
const CGPT: &str = "/usr/bin/cgpt";
/// Lets the unit's program ask nobody why it is stopped: where a directory stands for the machine it can't.
const AT_ANY_SHUTDOWN: &str = "\
mkdir -p /etc/systemd/system/update-engine-activate.service.d
cat >/etc/systemd/system/update-engine-activate.service.d/any.conf <<END
[Service]
ExecStop=
ExecStop=@/usr/sbin/update_engine update-engine-activate -root /.. -disk /dev/vda -running_slot A
END
systemctl daemon-reload";
/// From now on `/boot` is mounted on demand.
const ON_DEMAND: &str = "\
device=$(findmnt --noheadings --output SOURCE /boot)
printf '[Mount]\\nWhat=%s\\nWhere=/boot\\nType=vfat\\nOptions=iocharset=ascii\\n' $device \
  >/etc/systemd/system/boot.mount
printf '[Automount]\\nWhere=/boot\\nTimeoutIdleSec=2\\n' >/etc/systemd/system/boot.automount
systemctl daemon-reload && umount /boot && systemctl start boot.automount && systemctl restart update-engine
findmnt --types autofs /boot && ls /boot/flatcar && findmnt --types vfat /boot";
/// The unit does its work when it is stopped, and nothing before.
const WITHOUT_PROCESS: &str = "\
mkdir -p /etc/systemd/system/update-engine-activate.service.d
printf '[Service]\\nType=oneshot\\nWorkingDirectory=\\nExecStart=\\n' \
  >/etc/systemd/system/update-engine-activate.service.d/idle.conf
systemctl daemon-reload";
/// The words of a console at an orderly reboot, in this order.
const ACTIVATED_IN_TIME: [&str; 4] = [
    "Stopping update-engine-activate.service",
    "is activated: it boots next",
    "Stopped update-engine-activate.service",
    "Unmounting boot.mount",
];

/// A machine that stages version 2.0.0.
struct Node {
    old: Release,
    new: Release,
    disk: Disk,
    machine: Machine,
}

impl Node {
    /// With `ACTIVATE` as given.
    fn staged(stage: &mut Stage, activate: &str) -> Result<Self> {
        let mut node = Self::offered(stage, activate, false)?;
        node.update(stage)?;
        Ok(node)
    }

    /// Before it updates to an image whose postinst switches the slot, or doesn't.
    fn offered(stage: &mut Stage, activate: &str, switches_slot: bool) -> Result<Self> {
        let old = stage.release("1.0.0", Conduct::Good)?;
        let new = stage.make(&Recipe {
            cgpt: switches_slot.then_some(Path::new(CGPT)),
            ..Recipe::new("2.0.0", Conduct::Good)
        })?;
        let disk = stage.install(&old)?;
        let mut machine = stage.boot(&disk)?;
        expect_running(&mut machine, Slot::A, &old)?;
        stage.offer(&new)?;
        stage.configure(&mut machine)?;
        machine.sh(&format!(
            "echo ACTIVATE={activate} >>/etc/flatcar/update.conf && sync"
        ))?;
        Ok(Self {
            old,
            new,
            disk,
            machine,
        })
    }

    fn update(&mut self, stage: &Stage) -> Result<()> {
        stage.say("the node stages an update");
        // udev has the whole disk locked while it looks at it, for long on a host that is busy.
        let updated = self
            .machine
            .sh("udevadm settle --timeout=300; update_engine_client update || { journalctl -b -u update-engine -o cat -n 30; exit 1; }");
        updated.context("the update failed")?;
        Ok(())
    }

    fn is_staged(&mut self, stage: &Stage) -> Result<()> {
        stage.expect(&self.disk, Slot::A, Standing::GOOD)?;
        stage.expect(&self.disk, Slot::B, Standing::UNBOOTABLE)?;
        self.machine
            .sh("test -e /var/lib/update_engine/staged && test ! -e /run/reboot-required")?;
        stage.say("it is on record, and nothing asks for a reboot");
        Ok(())
    }

    /// The daemon is killed while the postinst runs, and starts anew.
    fn loses_its_daemon(&mut self, stage: &Stage) -> Result<()> {
        stage.say("the daemon is killed while the postinst runs");
        self.machine.sh(
            "touch /etc/postinst-waits && (update_engine_client update >/dev/null 2>&1 &); \
             for look in $(seq 600); do test -e /run/postinst-waits && break; sleep 0.5; done; \
             test -e /run/postinst-waits && ls /dev/loop*p4 && \
             systemctl kill --kill-whom=main --signal=KILL update-engine && rm /etc/postinst-waits && \
             for look in $(seq 100); do systemctl is-active update-engine-postinst || break; sleep 0.2; done; \
             ls -l /dev/loop*p4 /run/udev/rules.d/00-update-engine-dummy-disk.rules && systemctl restart update-engine && \
             for look in $(seq 100); do test -e /run/udev/rules.d/00-update-engine-dummy-disk.rules || break; sleep 0.2; done",
        )
        .context("the daemon was not killed in time, or left nothing")?;
        self.has_no_dummy_disk()?;
        stage.say("what it left was removed");
        stage.expect(&self.disk, Slot::B, Standing::UNBOOTABLE)
    }

    /// Neither loop device nor partition, nor the rule about them.
    fn has_no_dummy_disk(&mut self) -> Result<()> {
        self.machine
            .sh(
                "udevadm settle; ls -l /run/udev/rules.d /dev/loop*; losetup --list; \
                 test ! -e /run/udev/rules.d/00-update-engine-dummy-disk.rules && \
                 ! ls /dev/loop*p* && ! losetup --list | grep dummy-disk",
            )
            .context("something is left of the dummy disk")?;
        Ok(())
    }

    /// The machine is switched off without warning.
    fn cut(self, stage: &mut Stage, slot: Slot) -> Result<Self> {
        stage.say("the power fails");
        self.comes_back(stage, slot, |machine| {
            drop(machine);
            Ok(())
        })
    }

    /// The machine goes down in an orderly way.
    fn reboot(self, stage: &mut Stage, slot: Slot) -> Result<Self> {
        self.comes_back(stage, slot, Machine::reboot)
    }

    /// The machine goes down by a script, in this way, and activates nothing.
    fn goes_down(self, stage: &mut Stage, script: &str, end: End) -> Result<Self> {
        stage.say(format_args!("{script:?}"));
        let directory = stage.directory().to_owned();
        let node = self.comes_back(stage, Slot::A, |machine| {
            machine
                .goes_down(script, end)
                .with_context(|| format!("see {}", directory.display()))
        })?;
        stage.expect(&node.disk, Slot::B, Standing::UNBOOTABLE)?;
        Ok(node)
    }

    fn comes_back(
        self,
        stage: &mut Stage,
        slot: Slot,
        go_down: impl FnOnce(Machine) -> Result<()>,
    ) -> Result<Self> {
        go_down(self.machine)?;
        let mut machine = stage.boot(&self.disk)?;
        let release = if slot == Slot::A { &self.old } else { &self.new };
        expect_running(&mut machine, slot, release)?;
        Ok(Self { machine, ..self })
    }

    /// Until the staged slot was read back after a start.
    fn is_read_back(&mut self) -> Result<()> {
        let wait = "for look in $(seq 300); do case $(update_engine_client status) in *' is staged: '*) exit 0 ;; esac; \
                    sleep 0.2; done; update_engine_client status; exit 1";
        self.machine.sh(wait).context("it is not read back")?;
        Ok(())
    }
}

fn cut(stage: &mut Stage) -> Result<()> {
    let activate = if stage.is_control() { "at-once" } else { "reboot" };
    let mut node = Node::staged(stage, activate)?;
    if !stage.is_control() {
        node.is_staged(stage)?;
    }
    let mut node = node.cut(stage, Slot::A)?;
    node.is_read_back()?;
    node.reboot(stage, Slot::B)?;
    Ok(())
}

fn reboot(stage: &mut Stage) -> Result<()> {
    let activate = if stage.is_control() { "order" } else { "reboot" };
    let mut node = Node::staged(stage, activate)?;
    node.is_staged(stage)?;
    let console = node.machine.console().clone();
    let node = node.reboot(stage, Slot::B)?;
    let said = console.text();
    let mut rest = said.as_str();
    for words in ACTIVATED_IN_TIME {
        let found = rest.split_once(words);
        (_, rest) = found.with_context(|| format!("the console doesn't say {words:?}, or too early"))?;
    }
    stage.say("it was activated before /boot was unmounted");
    stage.expect(&node.disk, Slot::B, Standing::TRIED)?;
    node.machine.console().wait_for("is marked good")?;
    stage.expect(&node.disk, Slot::B, Standing::KEPT)
}

fn automount(stage: &mut Stage) -> Result<()> {
    let mut node = Node::offered(stage, "reboot", false)?;
    node.machine.sh(ON_DEMAND)?;
    stage.say("/boot is mounted on demand");
    // findmnt would look at /boot, and so keep it in use.
    let unmounted = "for look in $(seq 300); do grep -q ' /boot .* vfat ' /proc/self/mountinfo || exit 0; sleep 0.2; done; exit 1";
    node.machine
        .sh(unmounted)
        .context("/boot stays mounted although nobody uses it")?;
    if stage.is_control() {
        node.machine.sh(WITHOUT_PROCESS)?;
    }
    node.update(stage)?;
    node.is_staged(stage)?;
    if stage.is_control() {
        node.machine.sh(unmounted)?;
    } else {
        node.machine
            .sh("sleep 10; grep ' /boot .* vfat ' /proc/self/mountinfo")
            .context("/boot was unmounted while an update is staged")?;
        stage.say("/boot stays mounted while the update is staged");
    }
    let node = node.reboot(stage, Slot::B)?;
    stage.expect(&node.disk, Slot::B, Standing::TRIED)
}

fn down(stage: &mut Stage) -> Result<()> {
    let mut node = Node::staged(stage, "reboot")?;
    node.is_staged(stage)?;
    if stage.is_control() {
        node.machine.sh(AT_ANY_SHUTDOWN)?;
    } else {
        node.machine.sh("systemctl stop update-engine-activate")?;
        stage.expect(&node.disk, Slot::B, Standing::UNBOOTABLE)?;
        node.machine.sh("systemctl restart update-engine")?;
        node.is_read_back()?;
        node.machine.sh("systemctl is-active update-engine-activate")?;
        stage.expect(&node.disk, Slot::B, Standing::UNBOOTABLE)?;
    }
    let mut node = node.goes_down(stage, "systemctl poweroff", End::PowerOff)?;
    node.is_read_back()?;
    // No kernel is loaded: systemd reboots instead once all units have been stopped for it.
    let kexec = "systemctl start --no-block --job-mode=replace-irreversibly kexec.target";
    let mut node = node.goes_down(stage, kexec, End::Reset)?;
    node.is_read_back()?;
    node.machine.order("systemctl soft-reboot")?;
    node.machine.console().wait_for("Soft-reboot finished")?;
    stage.say("the machine is up again after a soft reboot");
    stage.expect(&node.disk, Slot::B, Standing::UNBOOTABLE)?;
    node.cut(stage, Slot::A)?;
    Ok(())
}

fn order(stage: &mut Stage) -> Result<()> {
    let mut node = Node::staged(stage, "order")?;
    node.is_staged(stage)?;
    let mut node = node.reboot(stage, Slot::A)?;
    node.is_read_back()?;
    node.is_staged(stage)?;
    if !stage.is_control() {
        node.machine.sh("update_engine_client activate")?;
        stage.expect(&node.disk, Slot::B, Standing::WAITING)?;
        node.machine.sh("test -e /run/reboot-required")?;
    }
    node.cut(stage, Slot::B)?;
    Ok(())
}

fn postinst(stage: &mut Stage) -> Result<()> {
    let mut node = Node::offered(stage, "order", true)?;
    if stage.is_control() {
        node.machine.sh(
            "mkdir -p /etc/systemd/system/update-engine-postinst.service.d && \
             printf '[Service]\\nDevicePolicy=auto\\nDeviceAllow=\\n' \
             >/etc/systemd/system/update-engine-postinst.service.d/devices.conf && systemctl daemon-reload",
        )?;
    }
    if !stage.is_control() {
        node.loses_its_daemon(stage)?;
    }
    node.update(stage)?;
    node.machine
        .sh("cat /etc/cgpt-has-said && grep -qE '^USR-B [1-9][0-9]* 1 0 ' /etc/cgpt-has-said")?;
    stage.say("the postinst has seen its own change");
    node.machine
        .sh("grep vda4 /etc/links-have-been && ! grep loop /etc/links-have-been")?;
    stage.say("nobody was led to the dummy disk");
    node.has_no_dummy_disk()?;
    node.is_staged(stage)?;
    node.machine.sh("update_engine_client activate")?;
    node.cut(stage, Slot::B)?;
    Ok(())
}

fn withdrawn(stage: &mut Stage) -> Result<()> {
    let mut node = Node::staged(stage, "reboot")?;
    node.is_staged(stage)?;
    if !stage.is_control() {
        node.machine.sh("update_engine_client -reset_status")?;
        stage.say("it is withdrawn");
    }
    let node = node.reboot(stage, Slot::A)?;
    stage.expect(&node.disk, Slot::B, Standing::UNBOOTABLE)
}
