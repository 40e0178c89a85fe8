//! The comparison of a baseline with what is there now.
//!
//! | found of what was well | is |
//! |---|---|
//! | not meant any more: disabled, masked, removed, taken from fstab, excused | nothing |
//! | still starting | nothing |
//! | an extension that is offered, and not merged | certain |
//! | the same while systemd still merges, or where another extension has taken its place, or its file has changed | perhaps |
//! | the same beside an unmerged extension that is new or has changed | perhaps |
//! | an extension that the image doesn't offer any more, or whose link leads nowhere | perhaps |
//! | a unit of the operator's, its files as they were, with a setting that systemd refuses, or whose program is missing from the image | certain |
//! | a unit of an extension that is lost for certain | certain |
//! | the image's unit gone; a unit that failed, or starts again and again; no default route | perhaps |

mod extensions;

use std::collections::BTreeSet;

use self::extensions::is_changed;
use super::inventory::{ExtensionFacts, Inventory, ProgramState, SystemState, UnitFacts, UnitOrigin};
use super::record::{Baseline, RecordedExtension, RecordedUnit};
use super::regression::{Regression, RegressionSubject, Regressions};
use crate::config::UnitName;

/// Automatic restarts in one boot from which on a unit is told that has only just become active.
const RESTARTS: u32 = 2;
/// For how many microseconds such a unit must have been active to pass.
const CALM: u64 = 30_000_000;

/// What is worse in `now` than it was in `before`, the units called `excused` aside.
#[must_use]
pub fn compare(before: &Baseline, now: &Inventory, excused: &[UnitName]) -> Regressions {
    let mut found = Regressions::default();
    let comparison = Comparison {
        before,
        now,
        is_usr_told: false,
    };
    let lost_extensions = comparison.extensions(RegressionSubject::Extension, &mut found);
    let lost_confexts = comparison.extensions(RegressionSubject::Confext, &mut found);
    let comparison = Comparison {
        is_usr_told: comparison.is_usr_told_by(&lost_extensions),
        ..comparison
    };
    let is_excused = |unit: &RecordedUnit| excused.iter().any(|name| name.as_str() == unit.name);
    for unit in before.units.iter().filter(|unit| !is_excused(unit)) {
        let lost = match &unit.origin {
            UnitOrigin::Extension(_) => &lost_extensions,
            UnitOrigin::Confext(_) => &lost_confexts,
            _ => &BTreeSet::new(),
        };
        match comparison.unit(unit, lost) {
            Some(RegressionFinding::Certain(state)) => found.certain.push(of_unit(unit, state)),
            Some(RegressionFinding::Perhaps(state)) => found.perhaps.push(of_unit(unit, state)),
            None => {}
        }
    }
    let is_up = now.system == SystemState::Up;
    if before.default_route && !now.default_route && is_up {
        found.perhaps.push(Regression {
            subject: RegressionSubject::Route,
            name: "default route".to_owned(),
            before: "there".to_owned(),
            now: "missing".to_owned(),
        });
    }
    found
}

/// How sure it is that something is worse, and what it is now.
enum RegressionFinding {
    Certain(String),
    Perhaps(String),
}

impl RegressionFinding {
    fn certain_if(is_certain: bool, state: String) -> Self {
        if is_certain {
            Self::Certain(state)
        } else {
            Self::Perhaps(state)
        }
    }
}

fn of_unit(unit: &RecordedUnit, state: String) -> Regression {
    Regression {
        subject: RegressionSubject::Unit,
        name: unit.name.clone(),
        before: "active".to_owned(),
        now: state,
    }
}

struct Comparison<'a> {
    before: &'a Baseline,
    now: &'a Inventory,
    /// Whether what is missing in `/usr` is the image's or one of the lost extensions'.
    is_usr_told: bool,
}

impl Comparison<'_> {
    /// What is wrong with a unit; `lost` names the extensions of its origin's kind that are lost for
    /// certain.
    fn unit(&self, unit: &RecordedUnit, lost: &BTreeSet<&str>) -> Option<RegressionFinding> {
        let now = self.now.units.get(&unit.name)?;
        if unit.is_switched_off(now) {
            return None;
        }
        match now.load.as_str() {
            "not-found" => self.not_found(unit, lost),
            "bad-setting" => Some(RegressionFinding::certain_if(
                self.is_judged(unit, now),
                "can't be loaded: bad-setting".to_owned(),
            )),
            // A file that couldn't be read, or no memory for it: not the image's doing.
            "error" => Some(RegressionFinding::Perhaps("can't be loaded: error".to_owned())),
            "loaded" => self.loaded(unit, now),
            _ => None,
        }
    }

    fn not_found(&self, unit: &RecordedUnit, lost: &BTreeSet<&str>) -> Option<RegressionFinding> {
        let state = "can't be found".to_owned();
        match &unit.origin {
            UnitOrigin::Extension(name) | UnitOrigin::Confext(name) => {
                let state = format!("{state}: it came with extension {name}");
                if lost.contains(name.as_str()) {
                    return Some(RegressionFinding::Certain(state));
                }
                // Of one that the operator has removed nothing is required.
                self.is_known(name).then_some(RegressionFinding::Perhaps(state))
            }
            UnitOrigin::Operator => {
                let before = unit.files.get(&unit.fragment)?;
                let found = self.now.files.get(&unit.fragment)?;
                let target = self.now.dangling.get(&unit.fragment);
                let state = match target {
                    Some(target) => format!("{state}: {} is a link to {target}", unit.fragment),
                    None => format!("{state}, although {} is there", unit.fragment),
                };
                // What is missing elsewhere than in the image was removed, or comes with a mount.
                let is_images_doing = target.is_none_or(|target| is_images(target) && self.is_usr_told);
                Some(RegressionFinding::certain_if(
                    before == found && is_images_doing,
                    state,
                ))
            }
            UnitOrigin::Image => Some(RegressionFinding::Perhaps(state)),
            UnitOrigin::Generated | UnitOrigin::Runtime | UnitOrigin::Nowhere => None,
        }
    }

    /// Whether the extension called so is merged or offered, or was the image's.
    fn is_known(&self, name: &str) -> bool {
        let (now, before) = (self.now, self.before);
        let is_there =
            |facts: &ExtensionFacts| facts.merged.contains(name) || facts.offered.contains_key(name);
        let mut recorded = before.extensions.iter().chain(&before.confexts);
        is_there(&now.extensions)
            || is_there(&now.confexts)
            || recorded.any(|extension| extension.name == name && extension.is_images)
    }

    fn loaded(&self, unit: &RecordedUnit, now: &UnitFacts) -> Option<RegressionFinding> {
        if now.is_not_executable() {
            return Some(self.not_executable(unit, now));
        }
        if now.is_active() {
            let up = u64::try_from(self.now.up.as_micros()).unwrap_or(u64::MAX);
            let flaps = now.restarts >= RESTARTS && up.saturating_sub(now.active_since) < CALM;
            // Active for the moment in which its process tries to execute the program.
            let can_run = now.program_state == ProgramState::Unremarkable;
            return flaps.then(|| {
                if can_run {
                    RegressionFinding::Perhaps(format!("was restarted {} times since the boot", now.restarts))
                } else {
                    self.not_executable(unit, now)
                }
            });
        }
        if now.is_restarting() {
            let state = format!("ends and is restarted again and again{}", ended(now));
            return Some(RegressionFinding::Perhaps(state));
        }
        match now.active.as_str() {
            "failed" => Some(RegressionFinding::Perhaps(format!("has failed{}", ended(now)))),
            "inactive" => self.inactive(unit, now),
            _ => None,
        }
    }

    fn not_executable(&self, unit: &RecordedUnit, now: &UnitFacts) -> RegressionFinding {
        let (path, state) = match &now.program_state {
            ProgramState::Missing(path) => (path, format!("has no program any more: {path} is missing")),
            ProgramState::InterpreterMissing(path) => (
                path,
                format!("can't run {}: its interpreter {path} is missing", now.program),
            ),
            ProgramState::Unremarkable => {
                return RegressionFinding::Perhaps(format!("can't execute {}", now.program));
            }
        };
        let is_images_doing = is_images(path) && self.is_usr_told;
        RegressionFinding::certain_if(self.is_judged(unit, now) && is_images_doing, state)
    }

    /// A unit that nothing has started, although it is meant to start by itself.
    fn inactive(&self, unit: &RecordedUnit, now: &UnitFacts) -> Option<RegressionFinding> {
        let is_meant = |enablement: &str| enablement.starts_with("enabled");
        let is_mount = unit
            .name
            .rsplit_once('.')
            .is_some_and(|(_, kind)| kind == "mount")
            && unit.origin == UnitOrigin::Generated;
        let is_due = is_meant(&unit.enablement) && is_meant(&now.enablement) || is_mount;
        if !is_due || now.has_job || self.now.system != SystemState::Up {
            return None;
        }
        let state = match now.conditions_held {
            _ if is_mount => "isn't mounted",
            true => "isn't active",
            false => "isn't active: its conditions don't hold",
        };
        Some(RegressionFinding::Perhaps(state.to_owned()))
    }

    /// Whether a unit that can't run tells against the image: it is the operator's or an
    /// extension's, and its files are those that were well.
    fn is_judged(&self, unit: &RecordedUnit, now: &UnitFacts) -> bool {
        let (was, is) = (self.before, self.now);
        let is_same_in = |name: &str, recorded: &[RecordedExtension], facts: &ExtensionFacts| {
            let known = recorded.iter().find(|extension| extension.name == *name);
            known.is_some_and(|extension| !is_changed(extension, facts))
        };
        let is_operators = match &unit.origin {
            UnitOrigin::Operator => true,
            UnitOrigin::Extension(name) => is_same_in(name, &was.extensions, &is.extensions),
            UnitOrigin::Confext(name) => is_same_in(name, &was.confexts, &is.confexts),
            _ => false,
        };
        let is_same = |path: &String| {
            let stamp = unit.files.get(path);
            stamp.is_some() && stamp == self.now.files.get(path)
        };
        let was_there = unit.files.keys().all(is_same);
        is_operators && was_there && now.changeable_files().all(is_same)
    }
}

/// What systemd says of how a unit ended, to be added to a sentence.
fn ended(unit: &UnitFacts) -> String {
    match (unit.result.as_str(), unit.exit_code) {
        ("" | "success", _) => String::new(),
        ("exit-code", Some(code)) => format!(" (exit code {code})"),
        (result, _) => format!(" ({result})"),
    }
}

/// Whether a file at `path` is the image's, or an extension's: everything else both slots share.
fn is_images(path: &str) -> bool {
    const OF_IMAGE: [&str; 5] = ["/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/"];
    OF_IMAGE.iter().any(|directory| path.starts_with(directory)) && !path.starts_with("/usr/local/")
}

#[cfg(test)]
mod tests;
