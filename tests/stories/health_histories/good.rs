//! Changes that good updates bring, and that administrators, users and networks make meanwhile:
//! none of them is the new image's fault for certain.

use test_support::random::Random;

use super::mutation::{Mutation, Pair, is_extensions, is_images, is_operators, is_service, word};
use super::recording::Unit;

macro_rules! mutations {
    ($($words:literal => $apply:expr,)*) => { [$(Mutation { words: $words, apply: $apply }),*] };
}

/// Nothing that the node had is worse: a report is a false alarm too.
pub(crate) const HARMLESS: [Mutation; 22] = mutations! {
    "services are slower to start: still activating" => |pair, random| {
        some(pair, random, is_service, |pair, name, random| {
            let state = word(random, &["start", "start-pre", "start-post"]);
            pair.now(name).set_all(&[("ActiveState", "activating"), ("SubState", state)]);
            pair.now(name).set("ActiveEnterTimestampMonotonic", "0");
        })
    },
    "a service is being reloaded" => |pair, random| {
        some(pair, random, is_service, |pair, name, _| {
            pair.now(name).set_all(&[("ActiveState", "reloading"), ("SubState", "reload")]);
        })
    },
    "a timer's oneshot worked when the record was made, and rests now" => |pair, random| {
        let mut rests = Unit::default();
        rests.set_all(&[
            ("Id", "nightly.service"), ("Names", "nightly.service"), ("LoadState", "loaded"),
            ("FragmentPath", "/etc/systemd/system/nightly.service"), ("UnitFileState", "static"),
            ("Type", "oneshot"), ("RemainAfterExit", "no"), ("TriggeredBy", "nightly.timer"),
            ("ActiveState", "inactive"), ("SubState", "dead"), ("Result", "success"),
        ]);
        pair.both("nightly.service", rests);
        let works = word(random, &["activating", "active", "deactivating"]);
        let unit = pair.before.unit("nightly.service");
        unit.set_all(&[("ActiveState", works), ("SubState", "start")]);
        true
    },
    "a timer hasn't elapsed since the start" => |pair, random| {
        let timer = pair.pick(random, |name, _| name.rsplit('.').next() == Some("timer"));
        timer.is_some_and(|name| {
            pair.now(&name).set("SubState", "waiting");
            pair.now(&name.replace(".timer", ".service")).set_all(&[
                ("ActiveState", "inactive"), ("SubState", "dead"), ("LoadState", "loaded"),
            ]);
            true
        })
    },
    "nobody has used a socket yet: its service is not started" => |pair, random| {
        let triggered: fn(&str, &Unit) -> bool =
            |name, unit| {
                let by_socket = unit.get("TriggeredBy").contains(".socket");
                is_service(name, unit) && by_socket && !unit.is("UnitFileState", "enabled")
            };
        pair.pick(random, triggered).is_some_and(|name| {
            pair.inactive(&name);
            true
        })
    },
    "transient units that ran are gone" => |pair, random| {
        for number in 0..=random.next() % 3 {
            let mut unit = Unit::default();
            let name = format!("run-r{number}.{}", word(random, &["service", "scope", "timer"]));
            unit.set_all(&[
                ("Id", &name), ("LoadState", "loaded"), ("ActiveState", "active"),
                ("SubState", "running"), ("Transient", "yes"), ("UnitFileState", "transient"),
            ]);
            unit.set("FragmentPath", format!("/run/systemd/transient/{name}"));
            pair.before.units.insert(name.clone(), unit.into());
            if random.chance(4) {
                pair.not_found(&name);
            }
        }
        true
    },
    "a user was logged in, and isn't now" => |pair, _| {
        for name in ["user@1000.service", "session-7.scope", "user-1000.slice",
            "user-runtime-dir@1000.service", "run-user-1000.mount"] {
            let mut unit = Unit::default();
            unit.set_all(&[("Id", name), ("LoadState", "loaded"), ("ActiveState", "active"),
                ("SubState", "active")]);
            if name.contains('@') {
                unit.set("FragmentPath", format!("/usr/lib/systemd/system/{}@.service",
                    name.split('@').next().unwrap()));
                unit.set("UnitFileState", "static");
            }
            if name.starts_with("session") {
                unit.set("Transient", "yes");
            }
            pair.before.units.insert(name.into(), unit.into());
            pair.after.units.remove(name);
        }
        pair.before.mounts.push("900 30 0:77 / /run/user/1000 rw,nosuid,nodev - tmpfs tmpfs rw".into());
        pair.after.mounts.retain(|line| !line.contains("/run/user/1000"));
        true
    },
    "somebody has logged in since" => |pair, _| {
        let mut unit = Unit::default();
        unit.set_all(&[("Id", "session-c9.scope"), ("LoadState", "loaded"), ("Transient", "yes"),
            ("ActiveState", "active"), ("SubState", "running")]);
        pair.after.units.insert("session-c9.scope".into(), unit.into());
        true
    },
    "a service was restarted often before, or once now" => |pair, random| {
        some(pair, random, is_service, |pair, name, random| {
            let (side, count) = if random.chance(4) {
                (&mut pair.before, random.next() % 40)
            } else {
                (&mut pair.after, 1)
            };
            side.unit(name).set("NRestarts", count.to_string());
        })
    },
    "the operator disabled and stopped a unit" => |pair, random| {
        let enabled: fn(&str, &Unit) -> bool =
            |name, unit| is_service(name, unit) && unit.is("UnitFileState", "enabled");
        some(pair, random, enabled, |pair, name, _| {
            pair.inactive(name);
            pair.now(name).set("UnitFileState", "disabled");
            pair.unlink(name);
        })
    },
    "the operator masked a unit" => |pair, random| {
        some(pair, random, is_service, |pair, name, random| {
            let (file_state, path) = if random.chance(4) {
                ("masked", "/etc/systemd/system/")
            } else {
                ("masked-runtime", "/run/systemd/system/")
            };
            pair.inactive(name);
            pair.now(name).set_all(&[("LoadState", "masked"), ("UnitFileState", file_state)]);
            pair.now(name).set("FragmentPath", format!("{path}{name}"));
        })
    },
    "the operator removed a unit's file and its links" => |pair, random| {
        some(pair, random, is_operators, |pair, name, _| {
            pair.not_found(name);
            pair.unlink(name);
        })
    },
    "the operator removed a unit's file, and the links that enable it dangle" => |pair, random| {
        some(pair, random, is_operators, |pair, name, _| pair.not_found(name))
    },
    "new units came with the image, some of which fail" => |pair, random| {
        for number in 0..=random.next() % 4 {
            let name = format!("brand-new-{number}.service");
            let mut unit = Unit::default();
            unit.set_all(&[("Id", &name), ("LoadState", "loaded"), ("UnitFileState", "enabled")]);
            unit.set("FragmentPath", format!("/usr/lib/systemd/system/{name}"));
            pair.after.units.insert(name.clone(), unit.into());
            match random.next() % 3 {
                0 => pair.failed(&name, "exit-code", "1", "203"),
                1 => pair.refused(&name),
                _ => pair.now(&name).set_all(&[("ActiveState", "active"), ("SubState", "running")]),
            }
        }
        true
    },
    "what had failed before fails again, in whatever way" => |pair, random| {
        some(pair, random, is_service, |pair, name, random| {
            match random.next() % 5 {
                0 => pair.refused(name),
                1 => pair.not_found(name),
                2 => pair.restarting(name, "203", 9),
                3 => pair.without_program(name),
                _ => pair.failed(name, "exit-code", "1", word(random, &["1", "127"])),
            }
            let unit = pair.after.units[name].clone();
            pair.before.units.insert(name.to_owned(), unit);
        })
    },
    "a template's instance ran, and the operator runs another now" => |pair, _| {
        let name = "acme-worker@blue.service";
        let runs = pair.after.units.get(name).is_some_and(|unit| unit.is_active());
        let blue = pair.before.units.get(name).filter(|_| runs);
        let Some(blue) = blue.cloned() else { return false };
        let mut red = Unit::clone(&blue);
        red.set_all(&[("Id", "acme-worker@violet.service"), ("Names", "acme-worker@violet.service")]);
        pair.after.units.insert("acme-worker@violet.service".into(), red.into());
        pair.inactive("acme-worker@blue.service");
        pair.now("acme-worker@blue.service").set("UnitFileState", "disabled");
        pair.unlink("acme-worker@blue.service");
        true
    },
    "the connections of a socket with Accept=yes are over" => |pair, random| {
        for number in 0..=random.next() % 3 {
            let mut unit = Unit::default();
            let name = format!("acme-echo@{number}-127.0.0.1:7007-127.0.0.1:51{number}00.service");
            unit.set_all(&[("Id", &name), ("LoadState", "loaded"), ("ActiveState", "active"),
                ("SubState", "running"), ("UnitFileState", "static"),
                ("TriggeredBy", "acme-echo.socket"),
                ("FragmentPath", "/etc/systemd/system/acme-echo@.service")]);
            pair.before.units.insert(name.clone(), unit.into());
            if random.chance(4) {
                pair.inactive(&name);
            }
        }
        true
    },
    "the operator took a mount out of fstab" => |pair, random| {
        let place = word(random, &["/srv/data", "/srv/scratch"]);
        let unit = format!("{}.mount", place.trim_start_matches('/').replace('/', "-"));
        let was = pair.unmounted(place);
        pair.after.fstab.retain(|line| !line.contains(place));
        pair.not_found(&unit);
        was
    },
    "somebody mounted something by hand before" => |pair, random| {
        let place = word(random, &["/mnt", "/media/stick", "/var/tmp/chroot/proc"]);
        pair.before.mounts.push(format!("901 30 0:78 / {place} rw - tmpfs tmpfs rw"));
        let name = format!("{}.mount", place.trim_start_matches('/').replace('/', "-"));
        let mut unit = Unit::default();
        unit.set_all(&[("Id", &name), ("LoadState", "loaded"), ("ActiveState", "active"),
            ("SubState", "mounted"), ("SourcePath", "/proc/self/mountinfo"), ("Where", place)]);
        pair.before.units.insert(name, unit.into());
        true
    },
    "the operator removed an extension, its units and what calls it" => |pair, _| {
        if !pair.after.offered.iter().any(|(_, name)| name == "engine") {
            return false;
        }
        pair.withdraw("sysext", "engine");
        pair.unmerge("sysext", "engine");
        for name in ["engine.service", "engine.socket", "acme-control.service"] {
            pair.not_found(name);
            pair.unlink(name);
        }
        true
    },
    "an extension is offered that wasn't merged before either" => |pair, random| {
        let extension = (word(random, &["sysext", "confext"]).to_owned(), "for-another".to_owned());
        pair.before.offered.push(extension.clone());
        pair.after.offered.push(extension);
        true
    },
    "devices, loops and swap have other names" => |pair, _| {
        let devices: Vec<String> =
            pair.after.units.keys().filter(|name| name.ends_with(".device")).cloned().collect();
        for name in devices {
            pair.after.units.remove(&name);
        }
        true
    },
};

/// Something is worse, but meant, or not the image's doing: kept, and told.
pub(crate) const WORSE: [Mutation; 17] = mutations! {
    "a daemon fails by itself (no DNS, no registry, full disk)" => |pair, random| {
        some(pair, random, is_service, |pair, name, random| {
            let status = word(random, &["1", "2", "75", "78", "127", "255"]);
            pair.failed(name, "exit-code", "1", status);
        })
    },
    "a daemon was killed, hangs, or took too much memory" => |pair, random| {
        some(pair, random, is_service, |pair, name, random| {
            let result = word(random, &["signal", "core-dump", "timeout", "watchdog", "oom-kill"]);
            pair.failed(name, result, "2", word(random, &["6", "9", "11", "15"]));
        })
    },
    "a daemon can't bind, allocate, or enter its cgroup or user: other reasons of systemd" => |pair, random| {
        some(pair, random, is_service, |pair, name, random| {
            let status = word(random, &["200", "202", "209", "216", "217", "219", "226", "238"]);
            pair.failed(name, "exit-code", "1", status);
        })
    },
    "a daemon restarts for ever" => |pair, random| {
        some(pair, random, is_service, |pair, name, random| {
            let restarts = 1 + random.next() % 30;
            pair.restarting(name, word(random, &["1", "2", "255"]), restarts);
        })
    },
    "a daemon restarted too often" => |pair, random| {
        some(pair, random, is_service, |pair, name, _| {
            pair.failed(name, "start-limit-hit", "1", "1");
        })
    },
    "the resources or the dependency of a unit failed" => |pair, random| {
        some(pair, random, is_service, |pair, name, random| match random.next() % 2 {
            0 => pair.failed(name, "resources", "0", "0"),
            _ => pair.inactive(name),
        })
    },
    "the new image doesn't have a unit any more" => |pair, random| {
        some(pair, random, is_images, |pair, name, _| {
            pair.not_found(name);
            pair.unlink(name);
        })
    },
    "the new image doesn't have a unit any more; links in /etc that enable it dangle" => |pair, random| {
        some(pair, random, is_images, |pair, name, _| pair.not_found(name))
    },
    "the new image doesn't have a unit any more to which the operator had a drop-in" => |pair, _| {
        let had = pair.before.units.get("nginx.service").is_some_and(|unit| unit.is_active());
        pair.not_found("nginx.service");
        pair.now("nginx.service").set("DropInPaths", "/etc/systemd/system/nginx.service.d/limits.conf");
        had
    },
    "the image's unit was renamed" => |pair, random| {
        some(pair, random, is_images, |pair, name, _| {
            let mut unit = pair.now(name).clone();
            let new = format!("renamed-{name}");
            unit.set_all(&[("Id", &new), ("Names", &new)]);
            unit.set("FragmentPath", format!("/usr/lib/systemd/system/{new}"));
            pair.after.units.insert(new, unit.into());
            pair.not_found(name);
        })
    },
    "the image's template is gone, of which the operator had an instance" => |pair, _| {
        let mut unit = Unit::default();
        unit.set_all(&[("Id", "vendor@office.service"), ("LoadState", "loaded"),
            ("ActiveState", "active"), ("SubState", "running"), ("UnitFileState", "enabled"),
            ("FragmentPath", "/lib/systemd/system/vendor@.service"), ("Type", "simple")]);
        pair.before.units.insert("vendor@office.service".into(), unit.into());
        let link = "/etc/systemd/system/multi-user.target.wants/vendor@office.service";
        let to = String::from("/lib/systemd/system/vendor@.service");
        pair.before.links.insert(link.into(), to.clone());
        pair.after.links.insert(link.into(), to);
        pair.not_found("vendor@office.service");
        true
    },
    "an alias in /etc leads to a unit that the new image doesn't have" => |pair, _| {
        let mut unit = Unit::default();
        unit.set_all(&[("Id", "mailer.service"), ("Names", "mailer.service mta.service"),
            ("LoadState", "loaded"), ("ActiveState", "active"), ("SubState", "running"),
            ("UnitFileState", "enabled"), ("FragmentPath", "/usr/lib/systemd/system/mailer.service")]);
        pair.before.units.insert("mailer.service".into(), unit.into());
        let (link, to) = ("/etc/systemd/system/mta.service", "/lib/systemd/system/mailer.service");
        pair.before.links.insert(link.into(), to.into());
        pair.after.links.insert(link.into(), to.into());
        pair.not_found("mailer.service");
        pair.not_found("mta.service");
        true
    },
    "a generator makes other units" => |pair, random| {
        let generated: fn(&str, &Unit) -> bool = |name, unit| {
            is_service(name, unit) && unit.get("FragmentPath").starts_with("/run/systemd/generator")
        };
        some(pair, random, generated, |pair, name, _| pair.not_found(name))
    },
    "a condition of the operator's unit doesn't hold any more" => |pair, random| {
        some(pair, random, is_operators, |pair, name, _| {
            pair.inactive(name);
            pair.now(name).set("ConditionResult", "no");
        })
    },
    "no route yet; what needs the network waits" => |pair, _| {
        let had = pair.after.has_default_route() && pair.before.has_default_route();
        pair.without_route();
        pair.inactive("network-online.target");
        had
    },
    "a disk comes later: its mount waits" => |pair, random| {
        let place = word(random, &["/srv/data", "/srv/scratch"]);
        let meant = pair.after.fstab.iter().any(|line| line.contains(place));
        meant && pair.unmounted(place)
    },
    "a disk comes later, and with it the program of a unit of the operator's" => |pair, random| {
        if !pair.unmounted("/srv/data") {
            return false;
        }
        some(pair, random, is_operators, |pair, name, _| {
            for side in [&mut pair.before, &mut pair.after] {
                let path = "{ path=/srv/data/bin/agent ; argv[]=/srv/data/bin/agent ; ignore_errors=no }";
                side.unit(name).set("ExecStart", path);
            }
            pair.without_program(name);
        })
    },
};

/// Changes one unit that is active on both sides, or up to three.
fn some(
    pair: &mut Pair,
    random: &mut Random,
    wanted: fn(&str, &Unit) -> bool,
    change: fn(&mut Pair, &str, &mut Random),
) -> bool {
    let mut changed = false;
    for _ in 0..=random.next() % 3 {
        if let Some(name) = pair.pick(random, wanted) {
            if is_extensions(&name) {
                continue;
            }
            change(pair, &name, random);
            changed = true;
        }
    }
    changed
}
