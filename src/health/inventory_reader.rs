//! The reader of inventories: asks systemd for its units, and looks at files, mounts and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use nix::fcntl::OFlag;
use tokio::sync::Semaphore;

use super::baseline::{Baseline, FileStamp, Inventory, ProgramState, SystemState, UnitFacts, UnitProperties};
use super::extensions::{Extensions, absolute, stamp_of};
use crate::host::{Host, Unreadable};
use crate::systemd::{ListedUnit, SystemdError, UnitReader};

/// Calls under way at a time.
const CALLS: usize = 16;
/// Units that are looked at.
const MOST: usize = 4096;
/// Units whose states say whether extensions are merged yet.
const MERGERS: [&str; 2] = ["systemd-sysext.service", "systemd-confext.service"];
/// Links that are followed from one to the next.
const MOST_LINKS: usize = 8;
/// Longest part of a script that is read for its interpreter, in bytes.
const FIRST_LINE: u64 = 256;

/// The errors that keep an inventory from being taken.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// systemd can't be reached, or refused.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// It did not answer in time.
    #[error("systemd did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// It can't be told which extensions are merged.
    #[error(transparent)]
    Extensions(#[from] Unreadable),
    /// systemd doesn't run the system.
    #[error("systemd doesn't run this system")]
    NoSystemd,
}

/// One look at files at a time: one that hangs, in a file system that doesn't answer, is the only one
/// that does.
static LOOKING: Semaphore = Semaphore::const_new(1);

/// The units that an inventory is to tell of.
#[derive(Debug, Clone, Copy)]
pub enum WantedUnits<'a> {
    /// All that are loaded: for a record.
    Loaded,
    /// Those of a record, with whatever explains that they don't run.
    Of(&'a Baseline),
}

impl WantedUnits<'_> {
    /// The default route where it isn't known: one that was not seen is not recorded, and none is
    /// missed.
    const fn unknown_route(self) -> bool {
        matches!(self, Self::Of(_))
    }
}

/// Takes the inventory of the system that `host` is, within `limit`.
///
/// # Errors
/// [`InventoryError`].
pub async fn take_inventory(
    host: &Host,
    wanted: WantedUnits<'_>,
    limit: Duration,
) -> Result<Inventory, InventoryError> {
    if !host.seems_run_by_systemd() {
        return Err(InventoryError::NoSystemd);
    }
    let taken = tokio::time::timeout(limit, take(host.clone(), wanted)).await;
    taken.map_err(|_| InventoryError::Silent(limit))?
}

async fn take(host: Host, wanted: WantedUnits<'_>) -> Result<Inventory, InventoryError> {
    let systemd = UnitReader::open().await?;
    let system = SystemState::of(&systemd.system_state().await?);
    let properties = match wanted {
        WantedUnits::Loaded => loaded(&systemd).await?,
        WantedUnits::Of(record) => recorded(&systemd, record).await?,
    };
    let noted: Vec<String> = match wanted {
        WantedUnits::Loaded => Vec::new(),
        WantedUnits::Of(record) => record.files().cloned().collect(),
    };
    let unknown_route = wanted.unknown_route();
    // Nobody closes it.
    let only = LOOKING.acquire().await.ok();
    let looked = tokio::task::spawn_blocking(move || {
        let _only = only;
        let files = Files { host: &host };
        let inventory = files.inventory(properties, &noted)?;
        Ok(Inventory {
            up: files.host.up().unwrap_or_default(),
            system,
            default_route: files.has_default_route().unwrap_or(unknown_route),
            ..inventory
        })
    });
    match looked.await {
        Ok(inventory) => inventory,
        // Blocking jobs are never aborted, so this is a panic: it goes on where it is waited for.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The properties of all units that are loaded: of those that are active all, of others their
/// states.
async fn loaded(systemd: &UnitReader) -> Result<BTreeMap<String, UnitProperties>, SystemdError> {
    let listed = systemd.list().await?.into_iter().take(MOST);
    let asked = listed.map(|unit| async move {
        let mut properties = of_list(&unit);
        if unit.active == "active" {
            // A unit that has gone since it was listed has no properties any more.
            properties.extend(systemd.properties(&unit).await.unwrap_or_default());
        }
        (unit.name, properties)
    });
    Ok(stream::iter(asked).buffer_unordered(CALLS).collect().await)
}

/// The properties of the units of `record`, and of those that merge extensions.
async fn recorded(
    systemd: &UnitReader,
    record: &Baseline,
) -> Result<BTreeMap<String, UnitProperties>, SystemdError> {
    let listed = systemd.list().await?.into_iter();
    let mut listed: BTreeMap<String, ListedUnit> = listed.map(|unit| (unit.name.clone(), unit)).collect();
    let recorded = record.units.iter().map(|unit| unit.name.clone());
    let names: BTreeSet<String> = MERGERS
        .map(str::to_owned)
        .into_iter()
        .chain(recorded)
        .take(MOST)
        .collect();
    let asked = names.into_iter().map(|name| {
        let unit = listed.remove(&name);
        let unit = unit.filter(|unit| unit.load == "loaded" && unit.active == "active");
        async move {
            let properties = match unit {
                Some(unit) => of_active(systemd, &unit).await?,
                None => systemd.all_properties(&name).await?,
            };
            Ok((name, properties))
        }
    });
    let answers: Vec<Result<_, SystemdError>> = stream::iter(asked).buffer_unordered(CALLS).collect().await;
    // systemd refuses what it can't be asked, such as a name that it doesn't take any more; nothing
    // is known of that unit then. A connection that is gone is another matter.
    let known = answers
        .into_iter()
        .filter(|answer| !answer.as_ref().is_err_and(SystemdError::is_refusal));
    known.collect()
}

/// The properties of a unit that is active; all of them only if it was restarted.
async fn of_active(systemd: &UnitReader, unit: &ListedUnit) -> Result<UnitProperties, SystemdError> {
    let mut properties = of_list(unit);
    if unit.name.ends_with(".service") {
        let restarts = systemd.restarts(unit).await?;
        if restarts > 0 {
            properties.extend(systemd.all_properties(&unit.name).await?);
        }
        properties.insert("NRestarts".to_owned(), restarts.to_string());
    }
    Ok(properties)
}

fn of_list(unit: &ListedUnit) -> UnitProperties {
    let told = [
        ("LoadState", unit.load.clone()),
        ("ActiveState", unit.active.clone()),
        ("SubState", unit.sub.clone()),
        ("Job", unit.job.to_string()),
    ];
    told.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Files of the host.
struct Files<'a> {
    host: &'a Host,
}

impl Files<'_> {
    fn inventory(
        &self,
        properties: BTreeMap<String, UnitProperties>,
        noted: &[String],
    ) -> Result<Inventory, Unreadable> {
        let extensions = Extensions::look(self.host)?;
        let mut units = BTreeMap::new();
        for (name, properties) in properties {
            let fragment = properties.get("FragmentPath").map_or("", String::as_str);
            let origin = extensions.origin_of(self.host, fragment);
            let mut unit = UnitFacts::of(&properties, origin);
            // The host's files tell nothing of a program that lies in a root of its own.
            if !unit.has_own_files && (unit.is_not_executable() || unit.restarts > 0) {
                unit.program_state = self.program_state(&unit.program);
            }
            units.insert(name, unit);
        }
        let of_units = units.values().flat_map(UnitFacts::changeable_files);
        let paths: BTreeSet<String> = of_units.chain(noted).cloned().collect();
        let stamps = paths
            .iter()
            .filter_map(|path| Some((path.clone(), self.stamp(path)?)));
        let dangling = paths
            .iter()
            .filter_map(|path| Some((path.clone(), self.missing_target(path)?)));
        Ok(Inventory {
            files: stamps.collect(),
            dangling: dangling.collect(),
            units,
            extensions: extensions.system,
            confexts: extensions.configuration,
            ..Inventory::default()
        })
    }

    /// What is wrong with the program at `path`. What can't be looked at counts as there.
    fn program_state(&self, path: &str) -> ProgramState {
        if !path.starts_with('/') {
            return ProgramState::Unremarkable;
        }
        let is_missing = |path: &str| matches!(self.host.is_there(path), Ok(false));
        if is_missing(path) {
            return ProgramState::Missing(path.to_owned());
        }
        match self.interpreter(path) {
            Some(interpreter) if is_missing(&interpreter) => ProgramState::InterpreterMissing(interpreter),
            _ => ProgramState::Unremarkable,
        }
    }

    /// The interpreter of a script: an absolute path after `#!`.
    fn interpreter(&self, path: &str) -> Option<String> {
        // A pipe would wait for somebody who writes.
        let flags = OFlag::O_NONBLOCK.bits();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(self.host.path(path))
            .ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut start = Vec::new();
        file.take(FIRST_LINE).read_to_end(&mut start).ok()?;
        let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
        let interpreter = std::str::from_utf8(line).ok()?.split_whitespace().next()?;
        interpreter.starts_with('/').then(|| interpreter.to_owned())
    }

    fn stamp(&self, path: &str) -> Option<FileStamp> {
        let found = fs::symlink_metadata(self.host.path(path)).ok()?;
        Some(stamp_of(&found))
    }

    /// Where the link at `path` leads, by whatever links, if nothing is there.
    fn missing_target(&self, path: &str) -> Option<String> {
        let mut target = path.to_owned();
        for _ in 0..MOST_LINKS {
            let Ok(next) = fs::read_link(self.host.path(&target)) else {
                break;
            };
            absolute(&target, &next).to_str()?.clone_into(&mut target);
        }
        let is_missing = target != path && matches!(self.host.is_there(&target), Ok(false));
        is_missing.then_some(target)
    }

    /// Whether there is a default route; nothing if neither table can be read.
    fn has_default_route(&self) -> Option<bool> {
        let table = |path: &str| {
            let contents = self.host.read(path).ok().flatten()?;
            Some(String::from_utf8_lossy(&contents).into_owned())
        };
        let (old, new) = (table("/proc/net/route"), table("/proc/net/ipv6_route"));
        if old.is_none() && new.is_none() {
            return None;
        }
        let old = old.unwrap_or_default().lines().any(is_default_route);
        let new = new.unwrap_or_default().lines().any(is_default_route_of_ipv6);
        Some(old || new)
    }
}

/// `RTF_UP`.
const UP: u32 = 1;
/// `RTF_REJECT`.
const REJECTED: u32 = 0x200;

/// A line of `/proc/net/route`: interface, destination, gateway, flags, three numbers, mask.
fn is_default_route(line: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [interface, destination, _, flags, _, _, _, mask, ..] = fields.as_slice() else {
        return false;
    };
    *destination == "00000000" && *mask == "00000000" && *interface != "lo" && is_usable(flags)
}

/// A line of `/proc/net/ipv6_route`: destination and its length, source and its length, next hop,
/// three numbers, flags, interface.
fn is_default_route_of_ipv6(line: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [destination, length, _, _, _, _, _, _, flags, interface] = fields.as_slice() else {
        return false;
    };
    let is_any = destination.bytes().all(|byte| byte == b'0') && *length == "00";
    is_any && *interface != "lo" && is_usable(flags)
}

fn is_usable(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & UP != 0 && flags & REJECTED == 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        for (path, text) in files {
            let path = host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (root, host)
    }

    #[test]
    fn a_default_route_is_one_by_which_packets_go() {
        const HEADER: &str =
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let any = "0".repeat(32);
        for (route, route6, expected) in [
            (
                "eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
                "",
                true,
            ),
            (
                "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
                "",
                false,
            ),
            (
                "",
                &*format!("{any} 00 {any} 00 {any} ffffffff 00000001 00000000 00200200 lo\n"),
                false,
            ),
            (
                "",
                &format!("{any} 00 {any} 00 fe80 00000400 1 0 00000003 eth0\n"),
                true,
            ),
            ("", "x\n", false),
        ] {
            let (_root, host) = machine(&[
                ("/proc/net/route", &format!("{HEADER}{route}")),
                ("/proc/net/ipv6_route", route6),
            ]);
            assert_eq!(
                Files { host: &host }.has_default_route(),
                Some(expected),
                "{route}{route6}"
            );
        }
        let (_root, host) = machine(&[]);
        assert_eq!(Files { host: &host }.has_default_route(), None);
    }

    #[test]
    fn a_program_is_missing_or_its_interpreter_is() {
        let (_root, host) = machine(&[
            ("/usr/bin/python", "#! /usr/bin/python3 -u\n"),
            ("/usr/bin/sh-script", "#!/usr/bin/python\n"),
            ("/usr/bin/elf", "\u{7f}ELF"),
            ("/usr/bin/env-script", "#!env python\n"),
        ]);
        let state = |path: &str| Files { host: &host }.program_state(path);
        assert_eq!(
            state("/usr/bin/app"),
            ProgramState::Missing("/usr/bin/app".into())
        );
        let interpreter = ProgramState::InterpreterMissing("/usr/bin/python3".into());
        assert_eq!(state("/usr/bin/python"), interpreter);
        for path in [
            "/usr/bin/sh-script",
            "/usr/bin/elf",
            "/usr/bin/env-script",
            "/usr/bin",
            "",
        ] {
            assert_eq!(state(path), ProgramState::Unremarkable, "{path}");
        }
    }

    #[test]
    fn a_link_to_nothing_is_told_with_its_last_target() {
        let (_root, host) = machine(&[("/opt/there.service", ""), ("/etc/systemd/x", "")]);
        for (target, link) in [
            ("/opt/there.service", "/etc/systemd/a.service"),
            ("/usr/share/gone.service", "/etc/systemd/b.service"),
            ("b.service", "/etc/systemd/c.service"),
            ("../../opt/gone.service", "/etc/systemd/d.service"),
        ] {
            std::os::unix::fs::symlink(target, host.path(link)).unwrap();
        }
        let target = |name: &str| Files { host: &host }.missing_target(&format!("/etc/systemd/{name}"));
        assert_eq!(target("a.service"), None);
        assert_eq!(target("x"), None);
        assert_eq!(target("b.service").as_deref(), Some("/usr/share/gone.service"));
        assert_eq!(target("c.service").as_deref(), Some("/usr/share/gone.service"));
        assert_eq!(target("d.service").as_deref(), Some("/opt/gone.service"));
    }

    #[test]
    fn an_inventory_has_the_stamps_of_files_outside_the_image() {
        let (_root, host) = machine(&[
            ("/etc/systemd/system/a.service", "[Service]\n"),
            ("/usr/lib/systemd/system/b.service", "[Service]\n"),
        ]);
        let unit = |path: &str| UnitProperties::from([("FragmentPath".to_owned(), path.to_owned())]);
        let properties = BTreeMap::from([
            ("a.service".to_owned(), unit("/etc/systemd/system/a.service")),
            ("b.service".to_owned(), unit("/usr/lib/systemd/system/b.service")),
        ]);
        let noted = ["/etc/systemd/system/gone.service".to_owned()];
        let inventory = Files { host: &host }.inventory(properties, &noted).unwrap();
        assert_eq!(inventory.files.len(), 1);
        assert_eq!(inventory.files["/etc/systemd/system/a.service"].size, 10);
        assert!(inventory.files["/etc/systemd/system/a.service"].modified > 0);
    }
}
