//! Common part of stories about the reboot manager: a node that has an update, a window that is closed, a real etcd in the
//! runner; up to the reboot that the manager orders.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use test_support::etcd::Etcd;

use crate::command::missing;
use crate::disk::{Disk, Slot};
use crate::guest::{Conduct, Recipe, Release};
use crate::machine::{End, Machine};
use crate::stage::{Stage, expect_running};

/// No other guest has it.
const START_LOGIND: &str = "systemctl unmask systemd-logind && systemctl start systemd-logind";
const HALF_A_DAY: u64 = 12 * 3600;

/// A node whose manager has rebooted it from 1.0.0 into 2.0.0.
pub(super) struct ManagedNode {
    pub(super) disk: Disk,
    pub(super) first: Release,
    pub(super) second: Release,
    etcd: Etcd,
    /// By which it holds the lock.
    id: String,
}

/// Settings of a node that matter here.
pub(super) struct Reboots {
    /// Whether the node has a window, which is closed until somebody sets the clock.
    pub(super) in_window: bool,
    /// `hold` or `release`.
    pub(super) after_rollback: &'static str,
}

impl ManagedNode {
    /// Has the manager wait for its window and reboot in it, up to the reset.
    pub(super) fn reboot(stage: &mut Stage, conduct: Conduct, reboots: &Reboots) -> Result<Self> {
        let etcd = Etcd::start_as_it_comes().map_err(|error| missing("etcd".as_ref(), error))?;
        let opens = now()? + HALF_A_DAY;
        stage.set_settings(settings(&etcd, reboots, opens));
        let first = stage.make(&recipe("1.0.0", Conduct::Good))?;
        let disk = stage.install(&first)?;
        let second = stage.make(&recipe("2.0.0", conduct))?;
        stage.offer(&second)?;
        let mut machine = stage.boot(&disk)?;
        expect_running(&mut machine, Slot::A, &first)?;
        let id = machine.sh("cat /etc/machine-id")?.trim().to_owned();
        machine.sh(START_LOGIND)?;
        stage.update(&mut machine)?;

        machine.sh(
            "systemctl enable update-reboot-manager && systemctl start --no-block update-reboot-manager",
        )?;
        let waits = machine
            .console()
            .wait_for("the reboot into 2.0.0 waits for its window; it opens at ")?;
        stage.say(format_args!("the manager says: {waits}"));
        let node = Self {
            disk,
            first,
            second,
            etcd,
            id,
        };
        ensure!(
            node.etcd.holders_v3().is_empty(),
            "the lock is taken before the window opens"
        );
        machine.sh(&format!("date -s @{}", opens + 60))?;
        stage.say("the clock is set: the window is open");
        let end = machine.end()?;
        ensure!(end == End::Reset, "the machine ends in {end:?}");
        node.expect_lock_held("when the machine goes down")?;
        stage.say("the manager has rebooted the node, under the lock");
        Ok(node)
    }

    /// Checks that this node holds the lock.
    pub(super) fn expect_lock_held(&self, when: &str) -> Result<()> {
        let holders = self.etcd.holders_v3();
        ensure!(!holders.is_empty(), "the lock is free {when}");
        ensure!(
            holders == [self.id.as_str()],
            "{holders:?} hold the lock {when}, not {}",
            self.id
        );
        Ok(())
    }

    /// Checks that nobody holds it.
    pub(super) fn expect_lock_free(&self, when: &str) -> Result<()> {
        let holders = self.etcd.holders_v3();
        ensure!(holders.is_empty(), "{holders:?} hold the lock {when}");
        Ok(())
    }

    /// Checks that the programs of these moments have run, each once and as a unit of its own.
    pub(super) fn expect_programs(machine: &mut Machine, moments: &[&str]) -> Result<()> {
        let ran = machine.sh("cat /var/lib/programs-ran")?;
        let expected = moments.iter().map(|moment| {
            let unit = format!(
                "update-reboot-manager-{}-10-vm.service",
                moment.trim_end_matches(".d")
            );
            format!("{moment} 2.0.0 0::/system.slice/{unit}")
        });
        let (ran, expected): (Vec<_>, Vec<_>) = (ran.lines().collect(), expected.collect());
        ensure!(ran == expected, "programs ran as {ran:?}, not {expected:?}");
        Ok(())
    }

    /// What `reboot-lock status` says of this node, once it says why the lock is kept.
    pub(super) fn told_of_rollback(&self, machine: &mut Machine) -> Result<String> {
        let told = machine
            .sh(r#"for look in $(seq 100); do
    told=$(update_engine_client reboot-lock status)
    case $told in *'rolled back from '*) echo "$told"; exit 0 ;; esac
    sleep 0.2
done
echo "$told"
exit 1"#)
            .context("reboot-lock status doesn't say why the lock is kept")?;
        let head = format!("{}\t", self.id);
        let line = told.lines().find_map(|line| line.strip_prefix(&head));
        let line = line.with_context(|| format!("reboot-lock status doesn't name {}:\n{told}", self.id))?;
        Ok(line.to_owned())
    }
}

fn recipe(version: &str, conduct: Conduct) -> Recipe<'_> {
    Recipe {
        reboot_manager: true,
        ..Recipe::new(version, conduct)
    }
}

fn settings(etcd: &Etcd, reboots: &Reboots, opens: u64) -> String {
    let (hour, minute) = (opens / 3600 % 24, opens / 60 % 60);
    let window = if reboots.in_window {
        format!("REBOOT_WINDOWS={hour:02}:{minute:02} 1h\nREBOOT_TIME_ZONE=UTC\n")
    } else {
        String::new()
    };
    // The runner's loopback, as the guest sees it.
    let endpoint = etcd.url().replace("127.0.0.1", "10.0.2.2");
    format!(
        "REBOOT_STRATEGY=etcd-lock\nREBOOT_ETCD_API=v3\nLOCKSMITHD_ENDPOINT={endpoint}\nAFTER_ROLLBACK={}\n{window}",
        reboots.after_rollback
    )
}

/// Unix time in seconds; a machine's clock begins with it.
fn now() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(now.context("the clock stands before 1970")?.as_secs())
}
