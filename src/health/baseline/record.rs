//! The baseline: the durable record of what is well while a good slot runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::inventory::{ExtensionFacts, FileStamp, Inventory, SystemState, UnitFacts, UnitOrigin};
use crate::plan::ImageHashes;
use crate::status::UnixTime;
use crate::store::tolerant;

/// A unit is steadily active from this time on.
const STEADY: Duration = Duration::from_secs(5 * 60);

/// Units recorded. A system with more loses the last ones of its alphabet, never the record.
const MOST: usize = 4096;

/// Suffixes of the units that count. The others are the kernel's, or groups of these.
const SUFFIXES: [&str; 7] = [
    ".service",
    ".socket",
    ".timer",
    ".path",
    ".mount",
    ".automount",
    ".swap",
];

/// What a record is bound to: it says nothing about any other slot or image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Binding {
    /// PARTUUID of the slot that ran.
    #[serde(deserialize_with = "tolerant::text")]
    pub slot: String,
    /// The version that ran.
    #[serde(deserialize_with = "tolerant::text")]
    pub version: String,
    /// The image in the slot, if this engine has installed it.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub image: Option<ImageHashes>,
}

/// A unit that was well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordedUnit {
    /// Its name, with its suffix.
    #[serde(deserialize_with = "tolerant::text")]
    pub name: String,
    /// Where its file came from.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub origin: UnitOrigin,
    /// `UnitFileState`; may be empty.
    #[serde(deserialize_with = "tolerant::text")]
    pub enablement: String,
    /// `FragmentPath`.
    #[serde(deserialize_with = "tolerant::text")]
    pub fragment: String,
    /// Its files outside the image, by path.
    #[serde(deserialize_with = "tolerant::known_by_name")]
    pub files: BTreeMap<String, FileStamp>,
}

/// An extension that was offered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordedExtension {
    /// Its name, without `.raw`.
    #[serde(deserialize_with = "tolerant::text")]
    pub name: String,
    /// Whether the image offered it, not the operator.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub is_images: bool,
    /// Size and time of its file; none of one that is the image's, or another one for each version.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub stamp: Option<FileStamp>,
}

/// What was well when it was taken. Its JSON form is meant for a record; what another version wrote
/// otherwise has its default, which requires less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Baseline {
    /// The slot and image that it speaks of.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub bound: Binding,
    /// When it was taken.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub taken: UnixTime,
    /// Seconds for which the system had been up then.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub up: u64,
    /// Units that were steadily active.
    #[serde(deserialize_with = "tolerant::known")]
    pub units: Vec<RecordedUnit>,
    /// Units that had failed.
    #[serde(deserialize_with = "tolerant::known")]
    pub failed: Vec<String>,
    /// Merged system extensions.
    #[serde(deserialize_with = "tolerant::known")]
    pub extensions: Vec<RecordedExtension>,
    /// Merged configuration extensions.
    #[serde(deserialize_with = "tolerant::known")]
    pub confexts: Vec<RecordedExtension>,
    /// System extensions that were offered, and not merged.
    #[serde(deserialize_with = "tolerant::known")]
    pub unmerged_extensions: Vec<RecordedExtension>,
    /// Configuration extensions that were offered, and not merged.
    #[serde(deserialize_with = "tolerant::known")]
    pub unmerged_confexts: Vec<RecordedExtension>,
    /// Whether there was a default route.
    #[serde(deserialize_with = "tolerant::or_default")]
    pub default_route: bool,
}

impl Baseline {
    /// The record of what `now` shows at `taken`. `previous` is the record that it replaces: a unit
    /// that was well by the same slot's record need not have been up for minutes again. Nothing
    /// while the system starts, or once it goes down with no earlier record of the same slot.
    #[must_use]
    pub fn of(bound: Binding, now: &Inventory, taken: UnixTime, previous: Option<&Self>) -> Option<Self> {
        let previous = previous.filter(|previous| previous.bound == bound);
        if now.system == SystemState::Stopping {
            return Some(previous?.without_what_is_not_meant(now, taken));
        }
        let was_well =
            |name: &str| previous.is_some_and(|previous| previous.units.iter().any(|unit| unit.name == name));
        let steady = |(name, unit): &(&String, &UnitFacts)| {
            let active_since = Duration::from_micros(unit.active_since);
            let is_steady = now.up.saturating_sub(active_since) >= STEADY || was_well(name);
            is_requirable(name, unit) && unit.is_active() && is_steady
        };
        let units = now.units.iter().filter(steady).take(MOST);
        let failed = now
            .units
            .iter()
            .filter(|(_, unit)| unit.active == "failed" || unit.is_restarting());
        Some(Self {
            units: units
                .map(|(name, unit)| RecordedUnit::of(name, unit, now))
                .collect(),
            failed: failed.map(|(name, _)| name.clone()).take(MOST).collect(),
            extensions: recorded(&now.extensions, now.extensions.merged.iter()),
            confexts: recorded(&now.confexts, now.confexts.merged.iter()),
            unmerged_extensions: recorded(&now.extensions, unmerged(&now.extensions)),
            unmerged_confexts: recorded(&now.confexts, unmerged(&now.confexts)),
            default_route: now.default_route,
            up: now.up.as_secs(),
            bound,
            taken,
        })
    }

    /// The same record while the system goes down: units have stopped by then whether or not they
    /// are meant to run again, and only files tell.
    fn without_what_is_not_meant(&self, now: &Inventory, taken: UnixTime) -> Self {
        let mut record = self.clone();
        record.units.retain(|unit| {
            let is_gone = unit.files.contains_key(&unit.fragment) && !now.files.contains_key(&unit.fragment);
            !is_gone
                && now
                    .units
                    .get(&unit.name)
                    .is_none_or(|found| !unit.is_switched_off(found))
        });
        Self {
            taken,
            up: now.up.as_secs(),
            ..record
        }
    }

    /// The paths of all files that it has noted.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        self.units.iter().flat_map(|unit| unit.files.keys())
    }
}

impl RecordedUnit {
    fn of(name: &str, unit: &UnitFacts, now: &Inventory) -> Self {
        let stamp = |path: &String| Some((path.clone(), *now.files.get(path)?));
        Self {
            name: name.to_owned(),
            origin: unit.origin.clone(),
            enablement: unit.enablement.clone(),
            fragment: unit.fragment.clone(),
            files: unit.changeable_files().filter_map(stamp).collect(),
        }
    }

    /// Whether it is masked, or was enabled and is not any more.
    pub(super) fn is_switched_off(&self, now: &UnitFacts) -> bool {
        let was_enabled = self.enablement.starts_with("enabled");
        now.is_masked() || (was_enabled && now.enablement == "disabled")
    }
}

/// Whether a unit is one that may be required: its file says how to start it.
fn is_requirable(name: &str, unit: &UnitFacts) -> bool {
    let counts = SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    counts && unit.load == "loaded" && !matches!(unit.origin, UnitOrigin::Nowhere | UnitOrigin::Runtime)
}

fn unmerged(facts: &ExtensionFacts) -> impl Iterator<Item = &String> {
    facts.offered.keys().filter(|name| !facts.merged.contains(*name))
}

fn recorded<'a>(facts: &ExtensionFacts, names: impl Iterator<Item = &'a String>) -> Vec<RecordedExtension> {
    let extension = |name: &String| RecordedExtension {
        name: name.clone(),
        is_images: facts.offered.get(name).is_none_or(|offer| offer.is_images),
        stamp: facts.offered.get(name).and_then(|offer| offer.stamp),
    };
    names.map(extension).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn unit(active: &str, since: u64) -> UnitFacts {
        UnitFacts {
            load: "loaded".into(),
            active: active.into(),
            active_since: since * 1_000_000,
            fragment: "/etc/systemd/system/x.service".into(),
            origin: UnitOrigin::Operator,
            ..UnitFacts::default()
        }
    }

    fn up(units: &[(&str, UnitFacts)]) -> Inventory {
        Inventory {
            up: Duration::from_secs(1000),
            units: units
                .iter()
                .map(|(name, unit)| ((*name).to_owned(), unit.clone()))
                .collect(),
            ..Inventory::default()
        }
    }

    fn names(record: &Baseline) -> Vec<&str> {
        record.units.iter().map(|unit| unit.name.as_str()).collect()
    }

    fn of(now: &Inventory, previous: Option<&Baseline>) -> Option<Baseline> {
        Baseline::of(Binding::default(), now, UnixTime(7), previous)
    }

    #[test]
    fn what_is_steadily_active_from_a_file_is_recorded() {
        let transient = UnitFacts {
            origin: UnitOrigin::Runtime,
            ..unit("active", 1)
        };
        let without_file = UnitFacts {
            origin: UnitOrigin::Nowhere,
            ..unit("active", 1)
        };
        let record = of(
            &up(&[
                ("a.service", unit("active", 700)),
                ("b.service", unit("active", 701)),
                ("c.service", unit("failed", 1)),
                ("d.service", transient),
                ("e.scope", unit("active", 1)),
                ("f.mount", unit("active", 1)),
                ("g.mount", without_file),
                ("h.service", unit("activating", 1)),
            ]),
            None,
        )
        .unwrap();
        assert_eq!(names(&record), ["a.service", "f.mount"]);
        assert_eq!(record.failed, ["c.service"]);
    }

    #[test]
    fn a_unit_that_was_restarted_a_moment_ago_stays_in_the_record() {
        let first = of(&up(&[("a.service", unit("active", 1))]), None).unwrap();
        let restarted = up(&[("a.service", unit("active", 999))]);
        assert_eq!(names(&of(&restarted, None).unwrap()), [""; 0]);
        assert_eq!(names(&of(&restarted, Some(&first)).unwrap()), ["a.service"]);
        let other = Baseline {
            bound: Binding {
                version: "2".into(),
                ..Binding::default()
            },
            ..first
        };
        assert_eq!(names(&of(&restarted, Some(&other)).unwrap()), [""; 0]);
    }

    #[test]
    fn going_down_takes_out_what_is_not_meant_any_more_and_adds_nothing() {
        let path = "/etc/systemd/system/x.service".to_owned();
        let with_file = |mut now: Inventory| {
            now.files.insert(path.clone(), FileStamp::default());
            now
        };
        let enabled = UnitFacts {
            enablement: "enabled".into(),
            ..unit("active", 1)
        };
        let first = of(&with_file(up(&[("a.service", enabled.clone())])), None).unwrap();
        let stopping = |unit: UnitFacts| {
            let mut now = up(&[("a.service", unit), ("b.service", enabled.clone())]);
            now.system = SystemState::Stopping;
            now
        };
        let inactive = |enablement: &str| UnitFacts {
            active: "inactive".into(),
            enablement: enablement.into(),
            ..unit("inactive", 1)
        };
        assert_eq!(of(&stopping(inactive("enabled")), None), None);
        let kept = of(&with_file(stopping(inactive("enabled"))), Some(&first)).unwrap();
        assert_eq!(names(&kept), ["a.service"]);
        for gone in [
            with_file(stopping(inactive("disabled"))),
            stopping(inactive("enabled")),
        ] {
            assert_eq!(names(&of(&gone, Some(&first)).unwrap()), [""; 0]);
        }
    }

    #[test]
    fn what_another_version_wrote_requires_what_is_understood() {
        let json = serde_json::json!({
            "bound": {"slot": "a", "version": "1.0.0", "image": "?", "board": 7},
            "units": [
                {"name": "a.service", "origin": {"moon": 1}, "files": {"/etc/a": {"size": 1, "modified": 2}, "/etc/b": 3}},
                7,
            ],
            "extensions": [{"name": "docker", "signed": true}, "x"],
            "default_route": "yes",
            "devices": [1],
        });
        let record: Baseline = serde_json::from_value(json).unwrap();
        assert_eq!(names(&record), ["a.service"]);
        assert_eq!(
            (record.units[0].origin.clone(), record.units[0].files.len()),
            (UnitOrigin::Image, 1)
        );
        assert_eq!(record.extensions.len(), 1);
        assert!(!record.default_route);
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Baseline>(&json).unwrap(), record);
        assert_eq!(
            serde_json::from_str::<Baseline>("{}").unwrap(),
            Baseline::default()
        );
    }
}
