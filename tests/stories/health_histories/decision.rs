//! The gate's decision about a pair: recordings in the form in which the daemon reads a system.

use std::collections::{BTreeMap, BTreeSet};

use update_engine::health::baseline::{
    Baseline, Binding, ExtensionFacts, ExtensionOffer, FileStamp, Inventory, OfferState, ProgramState,
    SystemState, UnitFacts, UnitOrigin, compare,
};
use update_engine::status::UnixTime;

use super::mutation::Pair;
use super::recording::{Extension, Missing, Snapshot, Unit};

/// What merges extensions.
pub(crate) const MERGERS: [&str; 2] = ["systemd-sysext.service", "systemd-confext.service"];

/// What the gate says.
pub(crate) struct Verdict {
    /// Lost for certain: the node goes back.
    pub(crate) certain: Vec<String>,
    /// Worse, perhaps: reported.
    pub(crate) worse: Vec<String>,
}

/// What the gate says on trial, with the record made before.
pub(crate) fn judge(pair: &Pair) -> Verdict {
    let before = inventory(&pair.before, |name| !name.ends_with(".device"));
    let record = Baseline::of(Binding::default(), &before, UnixTime(0), None).unwrap();
    // On trial the daemon asks for the units of the record, and those that merge extensions.
    let wanted: BTreeSet<&str> = record.units.iter().map(|unit| unit.name.as_str()).collect();
    let is_wanted = |name: &str| wanted.contains(name) || MERGERS.contains(&name);
    let found = compare(&record, &inventory(&pair.after, is_wanted), &[]);
    let words = |regressions: &[_]| regressions.iter().map(ToString::to_string).collect();
    Verdict {
        certain: words(&found.certain),
        worse: words(&found.perhaps),
    }
}

fn inventory(snapshot: &Snapshot, is_wanted: impl Fn(&str) -> bool) -> Inventory {
    let merged = snapshot.merged();
    let units: BTreeMap<String, UnitFacts> = snapshot
        .units
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, unit)| (name.clone(), facts(name, unit, snapshot, &merged)))
        .collect();
    let files = units
        .values()
        .flat_map(|unit| unit.changeable_files().map(|path| (path, unit.is_masked())))
        .chain(snapshot.links.keys().map(|path| (path, false)))
        // A mask is another file.
        .map(|(path, is_masked)| {
            (
                path.clone(),
                FileStamp {
                    size: 1,
                    modified: i64::from(is_masked),
                },
            )
        });
    // systemd finds what a link leads to, unless nothing is there.
    let dangling = snapshot.links.iter().filter(|(link, _)| {
        let name = link.rsplit('/').next().unwrap_or_default();
        units.get(name).is_some_and(|unit| unit.load == "not-found")
    });
    let dangling = dangling
        .map(|(link, target)| (link.clone(), target.clone()))
        .collect();
    Inventory {
        dangling,
        up: std::time::Duration::from_secs(snapshot.uptime),
        system: SystemState::of(&snapshot.running),
        files: files.collect(),
        units,
        extensions: extensions(snapshot, "sysext"),
        confexts: extensions(snapshot, "confext"),
        default_route: snapshot.has_default_route(),
    }
}

fn facts(name: &str, unit: &Unit, snapshot: &Snapshot, merged: &[Extension]) -> UnitFacts {
    let is_merged = |extension: &str| merged.iter().any(|(_, name)| name == extension);
    let extension = [("engine", true), ("tools", true), ("site", false)]
        .into_iter()
        .find(|(extension, _)| {
            let unit = if *extension == "site" {
                "site-agent."
            } else {
                extension
            };
            name.starts_with(unit) && is_merged(extension)
        })
        .map(|(extension, is_system)| {
            let of = if is_system {
                UnitOrigin::Extension
            } else {
                UnitOrigin::Confext
            };
            of(extension.to_owned())
        });
    let mut facts = UnitFacts::of(unit.properties(), extension);
    if facts.is_not_executable() {
        facts.program_state = match snapshot.missing.get(unit.program()) {
            None => ProgramState::Unremarkable,
            Some(Missing::Program) => ProgramState::Missing(unit.program().to_owned()),
            Some(Missing::Interpreter(path)) => ProgramState::InterpreterMissing(path.clone()),
        };
    }
    facts
}

fn extensions(snapshot: &Snapshot, wanted: &str) -> ExtensionFacts {
    let names = |extensions: &[(String, String)]| -> BTreeSet<String> {
        let of_kind = extensions.iter().filter(|(kind, _)| kind == wanted);
        of_kind.map(|(_, name)| name.clone()).collect()
    };
    let offer = |name: String| {
        let offer = ExtensionOffer {
            path: format!(
                "/var/lib/{}s/{name}",
                if wanted == "sysext" { "extension" } else { wanted }
            ),
            state: OfferState::There,
            stamp: Some(FileStamp { size: 1, modified: 0 }),
            is_images: false,
        };
        (name, offer)
    };
    ExtensionFacts {
        merged: names(&snapshot.merged()),
        offered: names(&snapshot.offered).into_iter().map(offer).collect(),
    }
}
