//! Check that a machine has merged its extensions, by its mount table: `systemd-sysext` succeeds
//! whether or not it merges anything.

use anyhow::{Context as _, Result, ensure};

use crate::guest::{Debian, SETTING, UNIT};
use crate::machine::Machine;

/// Ends once the unit of the extension runs; systemd starts it after the rest.
const WAIT_FOR_UNIT: &str = "for look in $(seq 300); do \
    [ \"$(systemctl is-active UNIT)\" != active ] || exit 0; sleep 0.2; done; systemctl status UNIT; exit 1";

/// Checks that the extensions are merged, and that what they bring is there and runs.
pub(crate) fn expect_merged(machine: &mut Machine, debian: Debian) -> Result<()> {
    let mounts = mounts(machine)?;
    let slot = mounts
        .iter()
        .find(|mount| mount.point == "/usr" && matches!(mount.kind.as_str(), "ext2" | "btrfs"))
        .with_context(|| format!("no slot is mounted: {mounts:?}"))?;
    let covers =
        |mount: &&Mount| mount.point == "/usr" && mount.source == "sysext" && mount.parent == slot.id;
    ensure!(
        mounts
            .iter()
            .any(|mount| covers(&mount) && mount.kind == "overlay"),
        "no extension is merged over the slot: {mounts:?}"
    );
    ensure!(
        !debian.has_confexts()
            || mounts
                .iter()
                .any(|mount| mount.point == "/etc" && mount.kind == "overlay" && mount.source == "confext"),
        "no extension of /etc is merged: {mounts:?}"
    );
    machine
        .sh(&WAIT_FOR_UNIT.replace("UNIT", UNIT))
        .with_context(|| format!("the extension is merged, but its {UNIT} doesn't run"))?;
    if !debian.has_confexts() {
        return Ok(());
    }
    let (file, contents) = SETTING;
    let there = machine.sh(&format!("cat {file}"))?;
    ensure!(there.trim_end() == contents.trim_end(), "{file} says {there:?}");
    Ok(())
}

/// Checks that nothing lies over the slot.
pub(crate) fn expect_not_merged(machine: &mut Machine) -> Result<()> {
    let mounts = mounts(machine)?;
    let of_usr = mounts.iter().filter(|mount| mount.point == "/usr").count();
    ensure!(of_usr == 1, "more than a slot is mounted at /usr: {mounts:?}");
    Ok(())
}

/// A line of the mount table.
#[derive(Debug)]
struct Mount {
    id: String,
    parent: String,
    point: String,
    kind: String,
    source: String,
}

fn mounts(machine: &mut Machine) -> Result<Vec<Mount>> {
    // Of the first process: what the system sees, whatever the shell's own view is.
    let table = machine.sh("cat /proc/1/mountinfo")?;
    table
        .lines()
        .map(|line| parse(line).with_context(|| format!("no mount: {line:?}")))
        .collect()
}

/// Source: `Documentation/filesystems/proc.rst`, 3.5.
fn parse(line: &str) -> Option<Mount> {
    let (place, what) = line.split_once(" - ")?;
    let mut place = place.split(' ');
    let (id, parent) = (place.next()?, place.next()?);
    let point = place.nth(2)?;
    let mut what = what.split(' ');
    let (kind, source) = (what.next()?, what.next()?);
    Some(Mount {
        id: id.to_owned(),
        parent: parent.to_owned(),
        point: point.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
    })
}
