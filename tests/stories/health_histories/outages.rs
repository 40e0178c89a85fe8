//! Outages that an image causes, and causes at each of its boots: each known one, as systemd shows
//! it.

use test_support::random::Random;

use super::mutation::{Mutation, Pair, is_operators, one_of};
use super::recording::{Missing, Unit};

macro_rules! mutations {
    ($($words:literal => $apply:expr,)*) => { [$(Mutation { words: $words, apply: $apply }),*] };
}

/// What must be undone by a rollback.
pub(crate) const OUTAGES: [Mutation; 20] = mutations! {
    "an extension isn't merged, and its units are gone with it (4593.2.0: Docker)" => |pair, random| {
        let merged: Vec<_> = merged_and_offered(pair);
        let Some((kind, name)) = one_of(random, &merged).cloned() else { return false };
        with_unit_of_extension(pair);
        lose(pair, &kind, &name);
        true
    },
    "an extension without units isn't merged" => |pair, random| {
        let mut merged = merged_and_offered(pair);
        merged.retain(|(kind, name)| {
            let start = start_of_units(kind, name);
            let units = &pair.before.units;
            !units.iter().any(|(unit, facts)| unit.starts_with(&start) && facts.is_active())
        });
        one_of(random, &merged).cloned().is_some_and(|(kind, name)| pair.unmerge(&kind, &name))
    },
    "no extension is merged any more" => |pair, _| {
        let merged = merged_and_offered(pair);
        for (kind, name) in &merged {
            lose(pair, kind, name);
        }
        !merged.is_empty()
    },
    "a confext isn't merged, and its unit is gone" => |pair, _| {
        let confext = ("confext".to_owned(), "site".to_owned());
        let merged = merged_and_offered(pair).contains(&confext);
        if merged {
            lose(pair, "confext", "site");
        }
        merged
    },
    "an extension isn't merged, and the operator's unit that runs its program says 203" => |pair, _| {
        let active = pair.now("acme-control.service").is_active();
        if !merged_and_offered(pair).iter().any(|(_, name)| name == "engine") {
            return false;
        }
        lose(pair, "sysext", "engine");
        pair.without_program("acme-control.service");
        active
    },
    "an extension isn't merged, and the links of its units in /etc dangle: not even loaded" =>
        |pair, _| {
        if !merged_and_offered(pair).iter().any(|(_, name)| name == "engine") {
            return false;
        }
        lose(pair, "sysext", "engine");
        for name in ["engine.service", "engine.socket"] {
            pair.after.units.remove(name);
        }
        true
    },
    "the new systemd refuses a directive in the operator's service" => |pair, random| {
        one(pair, random, is_operators, |pair, name, _| pair.refused(name))
    },
    "the new systemd refuses a directive in the operator's timer, socket or path" => |pair, random| {
        let other: fn(&str, &Unit) -> bool = |name, unit| {
            unit.is_of_etc() && [".timer", ".socket", ".path"].iter().any(|end| name.ends_with(end))
        };
        one(pair, random, other, |pair, name, _| pair.refused(name))
    },
    "the new systemd refuses a directive in a oneshot of the operator's that remains" => |pair, _| {
        let had = pair.now("acme-setup.service").is_active();
        pair.refused("acme-setup.service");
        had && pair.before.units["acme-setup.service"].is_active()
    },
    "the new systemd refuses a directive in an instance of the operator's template" => |pair, _| {
        let had = pair.now("acme-worker@blue.service").is_active();
        pair.refused("acme-worker@blue.service");
        had && pair.before.units["acme-worker@blue.service"].is_active()
    },
    "the program of the operator's unit has left the image" => |pair, random| {
        one(pair, random, is_operators, |pair, name, _| {
            pair.without_program(name);
        })
    },
    "the program of the operator's unit has left the image, tried again and again" => |pair, random| {
        one(pair, random, is_operators, |pair, name, random| {
            let restarts = 1 + random.next() % 400;
            pair.restarting(name, "203", restarts);
        })
    },
    "the program of the operator's unit has left the image; systemd is about to try again" => |pair, random| {
        one(pair, random, is_operators, |pair, name, _| {
            pair.restarting(name, "203", 0);
        })
    },
    "the program of the operator's unit has left the image; systemd has given up" => |pair, random| {
        one(pair, random, is_operators, |pair, name, _| {
            pair.without_program(name);
            pair.now(name).set_all(&[("Result", "start-limit-hit"), ("NRestarts", "5")]);
        })
    },
    "the interpreter of the operator's program, which is there, has left the image" => |pair, random| {
        one(pair, random, is_operators, |pair, name, _| {
            for side in [&mut pair.before, &mut pair.after] {
                let path = "{ path=/opt/acme/agent ; argv[]=/opt/acme/agent ; ignore_errors=no }";
                side.unit(name).set("ExecStart", path);
            }
            pair.failed(name, "exit-code", "1", "203");
            let interpreter = Missing::Interpreter("/usr/bin/python3".into());
            pair.after.missing.insert("/opt/acme/agent".into(), interpreter);
        })
    },
    "the program of a unit of an extension, which is merged, finds no interpreter" => |pair, _| {
        let merged = with_unit_of_extension(pair);
        pair.failed("engine.service", "exit-code", "1", "203");
        let interpreter = Missing::Interpreter("/usr/bin/python3".into());
        pair.after.missing.insert("/usr/bin/engine-daemon".into(), interpreter);
        merged
    },
    "the new systemd refuses the unit of an extension, which is merged" => |pair, _| {
        let merged = with_unit_of_extension(pair);
        pair.refused("engine.service");
        merged
    },
    "a unit in /etc is a link into the image, where its file is no more" => |pair, _| {
        let (name, to) = ("acme-shipped.service", "/usr/share/acme/acme-shipped.service");
        let mut unit = Unit::default();
        unit.set_all(&[("Id", name), ("Names", name), ("LoadState", "loaded"),
            ("ActiveState", "active"), ("SubState", "running"), ("UnitFileState", "enabled"),
            ("FragmentPath", "/etc/systemd/system/acme-shipped.service"), ("Type", "simple")]);
        pair.before.units.insert(name.into(), unit.into());
        for side in [&mut pair.before, &mut pair.after] {
            side.links.insert(format!("/etc/systemd/system/{name}"), to.into());
        }
        pair.not_found(name);
        true
    },
    "several of the operator's units are lost at once" => |pair, random| {
        let first = one(pair, random, is_operators, |pair, name, _| pair.refused(name));
        let second = one(pair, random, is_operators, |pair, name, _| {
            pair.without_program(name);
        });
        first && second
    },
    "the program is lost while the network is down, which hides nothing" => |pair, random| {
        pair.without_route();
        pair.inactive("network-online.target");
        one(pair, random, is_operators, |pair, name, _| pair.without_program(name))
    },
};

/// What is merged before and after, and still offered.
fn merged_and_offered(pair: &Pair) -> Vec<(String, String)> {
    let (before, after) = (pair.before.merged(), pair.after.merged());
    let mut both = before;
    both.retain(|extension| after.contains(extension) && pair.after.offered.contains(extension));
    both
}

/// The engine's unit runs before and after; false if its extension isn't merged.
fn with_unit_of_extension(pair: &mut Pair) -> bool {
    let merged = merged_and_offered(pair).iter().any(|(_, name)| name == "engine");
    if merged {
        let mut unit = Unit::default();
        unit.set_all(&[
            ("Id", "engine.service"),
            ("LoadState", "loaded"),
            ("ActiveState", "active"),
            ("SubState", "running"),
            ("UnitFileState", "enabled"),
            ("FragmentPath", "/usr/lib/systemd/system/engine.service"),
            (
                "ExecStart",
                "{ path=/usr/bin/engine-daemon ; argv[]=/usr/bin/engine-daemon }",
            ),
        ]);
        pair.both("engine.service", unit);
    }
    merged
}

/// The extension isn't merged, so systemd knows nothing of its units.
fn lose(pair: &mut Pair, kind: &str, name: &str) {
    pair.unmerge(kind, name);
    let start = start_of_units(kind, name);
    let units: Vec<String> = pair
        .after
        .units
        .keys()
        .filter(|unit| unit.starts_with(&start))
        .cloned()
        .collect();
    for unit in units {
        pair.not_found(&unit);
    }
}

/// How the names of the extension's units begin.
fn start_of_units(kind: &str, name: &str) -> String {
    if kind == "confext" {
        "site-agent.".to_owned()
    } else {
        format!("{name}.")
    }
}

fn one(
    pair: &mut Pair,
    random: &mut Random,
    wanted: fn(&str, &Unit) -> bool,
    change: fn(&mut Pair, &str, &mut Random),
) -> bool {
    pair.pick(random, wanted).is_some_and(|name| {
        change(pair, &name, random);
        true
    })
}
