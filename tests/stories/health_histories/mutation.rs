//! What mutations have in common: a pair of snapshots, units picked from it, states put into it.
//!
//! States are those that systemd shows for the event (`systemctl show`), not what a rule needs.

use std::sync::Arc;

use test_support::random::Random;

use super::recording::{Missing, Snapshot, Unit};

/// A machine while its slot was good, and on trial.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) before: Snapshot,
    pub(crate) after: Snapshot,
}

/// A change of a pair; false if the pair has nothing to change so.
pub(crate) type Apply = fn(&mut Pair, &mut Random) -> bool;

/// One kind of change, in words.
pub(crate) struct Mutation {
    pub(crate) words: &'static str,
    pub(crate) apply: Apply,
}

impl Pair {
    /// A unit that is active before and after and for which `wanted` holds of the state before.
    pub(crate) fn pick(&self, random: &mut Random, wanted: fn(&str, &Unit) -> bool) -> Option<String> {
        let names: Vec<&String> = self
            .before
            .units
            .iter()
            .filter(|(name, unit)| unit.is_active() && wanted(name, unit))
            .filter(|(name, _)| self.after.units.get(*name).is_some_and(|unit| unit.is_active()))
            .map(|(name, _)| name)
            .collect();
        one_of(random, &names).map(|name| (*name).clone())
    }

    /// The unit's state on trial.
    pub(crate) fn now(&mut self, name: &str) -> &mut Unit {
        Arc::make_mut(self.after.units.entry(name.to_owned()).or_default())
    }

    /// The unit is in both snapshots as `unit` says.
    pub(crate) fn both(&mut self, name: &str, unit: Unit) {
        let unit = Arc::new(unit);
        self.before.units.insert(name.to_owned(), unit.clone());
        self.after.units.insert(name.to_owned(), unit);
    }

    /// The unit has no file any more, nor has any other instance of its template.
    pub(crate) fn not_found(&mut self, name: &str) {
        let path = self.now(name).get("FragmentPath").to_owned();
        let is_of_file = |unit: &Unit| !path.is_empty() && unit.is("FragmentPath", &path);
        let units = self.after.units.iter().filter(|(_, unit)| is_of_file(unit));
        let others: Vec<String> = units.map(|(other, _)| other.clone()).collect();
        for name in others.iter().map(String::as_str).chain([name]) {
            self.unit_not_found(name);
        }
    }

    fn unit_not_found(&mut self, name: &str) {
        let mut gone = Unit::default();
        gone.set_all(&[
            ("Id", name),
            ("Names", name),
            ("LoadState", "not-found"),
            ("ActiveState", "inactive"),
            ("SubState", "dead"),
        ]);
        let error = format!("org.freedesktop.systemd1.NoSuchUnit \"Unit {name} not found.\"");
        gone.set("LoadError", error);
        self.after.units.insert(name.to_owned(), gone.into());
    }

    /// systemd refuses the unit's file.
    pub(crate) fn refused(&mut self, name: &str) {
        let unit = self.now(name);
        unit.set_all(&[
            ("LoadState", "bad-setting"),
            ("ActiveState", "inactive"),
            ("SubState", "dead"),
            ("ActiveEnterTimestampMonotonic", "0"),
            ("Result", "success"),
        ]);
        let error =
            format!("org.freedesktop.systemd1.BadUnitSetting \"Unit {name} has a bad unit file setting.\"");
        unit.set("LoadError", error);
    }

    /// The unit's process ended.
    pub(crate) fn failed(&mut self, name: &str, result: &str, code: &str, status: &str) {
        self.now(name).set_all(&[
            ("ActiveState", "failed"),
            ("SubState", "failed"),
            ("Result", result),
            ("ExecMainCode", code),
            ("ExecMainStatus", status),
            ("ActiveEnterTimestampMonotonic", "0"),
        ]);
    }

    /// systemd can't execute the unit's program, which isn't there.
    pub(crate) fn without_program(&mut self, name: &str) {
        self.failed(name, "exit-code", "1", "203");
        let program = self.now(name).program().to_owned();
        self.after.missing.insert(program, Missing::Program);
    }

    /// The default routes are gone.
    pub(crate) fn without_route(&mut self) {
        self.after.routes.clear();
        self.after.routes_of_ipv6.clear();
    }

    /// systemd waits before it starts the unit again.
    pub(crate) fn restarting(&mut self, name: &str, status: &str, restarts: u64) {
        if status == "203" {
            self.without_program(name);
        } else {
            self.failed(name, "exit-code", "1", status);
        }
        let unit = self.now(name);
        unit.set_all(&[
            ("ActiveState", "activating"),
            ("SubState", "auto-restart"),
            ("Restart", "always"),
        ]);
        unit.set("NRestarts", restarts.to_string());
    }

    /// The unit isn't started.
    pub(crate) fn inactive(&mut self, name: &str) {
        self.now(name).set_all(&[
            ("ActiveState", "inactive"),
            ("SubState", "dead"),
            ("ActiveEnterTimestampMonotonic", "0"),
        ]);
    }

    /// The mount at `place` isn't there on trial, nor is its unit active.
    pub(crate) fn unmounted(&mut self, place: &str) -> bool {
        let count = self.after.mounts.len();
        self.after
            .mounts
            .retain(|line| line.split(' ').nth(4) != Some(place));
        let unit = format!("{}.mount", place.trim_start_matches('/').replace('/', "-"));
        if self.after.units.contains_key(&unit) {
            self.inactive(&unit);
        }
        count != self.after.mounts.len()
    }

    /// The extension isn't merged on trial: the mount table of the overlay says so, and the overlay
    /// goes with its last extension.
    pub(crate) fn unmerge(&mut self, kind: &str, name: &str) -> bool {
        let all = if kind == "confext" {
            "confexts"
        } else {
            "extensions"
        };
        let others = format!("/run/systemd/sysext/{all}/");
        let directory = format!("{others}{name}/");
        let mut changed = false;
        self.after.mounts.retain_mut(|line| {
            let Some((head, options)) = line.split_once("lowerdir=") else {
                return true;
            };
            let (lower, rest) = options.split_once(',').unwrap_or((options, ""));
            let kept: Vec<&str> = lower
                .split(':')
                .filter(|part| !part.starts_with(&directory))
                .collect();
            if kept.len() == lower.split(':').count() {
                return true;
            }
            changed = true;
            let keep = kept.iter().any(|part| part.starts_with(&others));
            *line = format!("{head}lowerdir={},{rest}", kept.join(":"));
            keep
        });
        changed
    }

    /// The extension isn't offered on trial.
    pub(crate) fn withdraw(&mut self, kind: &str, name: &str) {
        self.after
            .offered
            .retain(|offered| (offered.0.as_str(), offered.1.as_str()) != (kind, name));
    }

    /// The links that enable `name` go too.
    pub(crate) fn unlink(&mut self, name: &str) {
        let end = format!("/{name}");
        self.after.links.retain(|link, _| !link.ends_with(&end));
    }
}

/// One of them.
pub(crate) fn one_of<'a, T>(random: &mut Random, items: &'a [T]) -> Option<&'a T> {
    let count = u64::try_from(items.len()).unwrap();
    (count > 0).then(|| &items[usize::try_from(random.next() % count).unwrap()])
}

/// One of the words.
pub(crate) fn word(random: &mut Random, words: &[&'static str]) -> &'static str {
    one_of(random, words).unwrap()
}

/// A service of an image's or the operator's.
pub(crate) fn is_service(name: &str, unit: &Unit) -> bool {
    name.ends_with(".service") && !unit.is_transient()
}

/// The operator's service, its file in `/etc`; not the one that crashes again and again.
pub(crate) fn is_operators(name: &str, unit: &Unit) -> bool {
    is_service(name, unit)
        && unit.is_of_etc()
        && name != "recorder.service"
        && name != "acme-crashing.service"
}

/// A service that an image brought.
pub(crate) fn is_images(name: &str, unit: &Unit) -> bool {
    is_service(name, unit) && unit.is_of_usr() && !is_extensions(name)
}

/// A unit whose file is an extension's.
pub(crate) fn is_extensions(name: &str) -> bool {
    ["engine.", "tools.", "site-agent."]
        .iter()
        .any(|start| name.starts_with(start))
}
