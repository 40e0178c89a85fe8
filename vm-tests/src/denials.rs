//! System calls that our units deny: in the guests they kill, so that a story shows that nothing needs them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::machine::Machine;

/// Name of the drop-in, and what is in it.
pub(crate) const DROP_IN: (&str, &[u8]) = (
    "kill-on-denial.conf",
    include_bytes!("../guest/kill-on-denial.conf"),
);
/// Units with a filter that run in guests.
pub(crate) const UNITS: [&str; 4] = [
    "update-engine.service",
    "update-engine-activate.service",
    "update-engine-postinst.service",
    "update-reboot-manager.service",
];
/// How systemd tells of a process that SIGSYS has ended.
const KILLED: &str = "status=31/SYS";
/// Has the daemon's unit, under another name and without the daemon's name on the bus, do what it
/// denies; prints how that ended with the drop-in, and without it.
const TRY_TO_MOUNT: &str = r"at=/run/systemd/system/vm-denied.service
mkdir -p $at.d
grep -v ^BusName= /usr/lib/systemd/system/update-engine.service >$at
cp /usr/lib/systemd/system/update-engine.service.d/kill-on-denial.conf $at.d
printf '[Service]\nType=oneshot\nRestart=no\nStateDirectory=\nExecStart=\nExecStart=mount -t tmpfs none /mnt\n' >$at.d/mount.conf
for turn in with without; do
    systemctl daemon-reload
    systemctl start vm-denied 2>/dev/null && exit 1
    echo $(systemctl show -P ExecMainCode -P ExecMainStatus vm-denied)
    rm -f $at.d/kill-on-denial.conf
done
systemctl reset-failed vm-denied
rm -r $at $at.d
systemctl daemon-reload";

/// Checks that a denied call kills in this machine, and that the unit as it is shipped refuses it.
pub(crate) fn expect_they_kill(machine: &mut Machine) -> Result<()> {
    let ended = machine
        .sh(TRY_TO_MOUNT)
        .context("the daemon's unit lets a file system be mounted")?;
    let [with, without] = ended.lines().collect::<Vec<_>>()[..] else {
        anyhow::bail!("what is denied ended as {ended:?}");
    };
    // CLD_KILLED or CLD_DUMPED, by SIGSYS; then mount's own status for a call that failed.
    ensure!(
        ["2 31", "3 31"].contains(&with),
        "a denied call doesn't kill: {with}"
    );
    ensure!(
        without.starts_with("1 "),
        "the unit as it is shipped kills: {without}"
    );
    Ok(())
}

/// Checks that no unit of ours was killed for a call, by all consoles in the directory of a story.
pub(crate) fn expect_none(directory: &Path) -> Result<()> {
    let logs = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for log in logs {
        let path = log?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = String::from_utf8_lossy(&crate::files::read(&path)?).into_owned();
        let killed = text
            .lines()
            .find(|line| line.contains(KILLED) && UNITS.iter().any(|unit| line.contains(unit)));
        ensure!(
            killed.is_none(),
            "a call was denied: {}; see {}",
            killed.unwrap_or_default(),
            path.display()
        );
    }
    Ok(())
}
