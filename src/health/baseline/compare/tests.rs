//! Each row of the table, and properties that hold for all systems.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::super::inventory::{ExtensionOffer, FileStamp, OfferState};
use super::extensions::stem;
use super::*;
use crate::status::UnixTime;

const FILE: &str = "/etc/systemd/system/app.service";

fn stamp(modified: i64) -> FileStamp {
    FileStamp { size: 100, modified }
}

/// A unit that has been active since the boot.
fn unit(origin: UnitOrigin) -> UnitFacts {
    let fragment = match &origin {
        UnitOrigin::Operator => FILE,
        UnitOrigin::Generated => "/run/systemd/generator/data.mount",
        _ => "/usr/lib/systemd/system/app.service",
    };
    UnitFacts {
        load: "loaded".into(),
        active: "active".into(),
        sub: "running".into(),
        enablement: "enabled".into(),
        result: "success".into(),
        active_since: 1,
        conditions_held: true,
        fragment: fragment.into(),
        program: "/usr/bin/app".into(),
        origin,
        ..UnitFacts::default()
    }
}

fn offer(state: OfferState) -> ExtensionOffer {
    ExtensionOffer {
        path: "/var/lib/extensions/docker.raw".into(),
        state,
        stamp: Some(stamp(1)),
        is_images: false,
    }
}

/// A system with the operator's app, docker's extension with its unit, the image's sshd, and a
/// mount from fstab.
fn well() -> Inventory {
    let units = [
        ("app.service", unit(UnitOrigin::Operator)),
        ("docker.service", unit(UnitOrigin::Extension("docker".into()))),
        ("sshd.service", unit(UnitOrigin::Image)),
        ("data.mount", unit(UnitOrigin::Generated)),
        ("systemd-sysext.service", unit(UnitOrigin::Image)),
    ];
    Inventory {
        up: Duration::from_secs(1000),
        units: units.map(|(name, unit)| (name.to_owned(), unit)).into(),
        extensions: ExtensionFacts {
            merged: ["docker".to_owned()].into(),
            offered: [("docker".to_owned(), offer(OfferState::There))].into(),
        },
        files: [(FILE.to_owned(), stamp(1))].into(),
        default_route: true,
        ..Inventory::default()
    }
}

fn baseline(now: &Inventory) -> Baseline {
    Baseline::of(super::super::Binding::default(), now, UnixTime(1), None).unwrap()
}

/// What is found where `change` happened to a system that was well.
fn found(change: impl FnOnce(&mut Inventory)) -> Regressions {
    let before = baseline(&well());
    let mut now = well();
    now.up = Duration::from_secs(60);
    change(&mut now);
    compare(&before, &now, &[])
}

fn of<'a>(now: &'a mut Inventory, unit: &str) -> &'a mut UnitFacts {
    now.units.get_mut(unit).unwrap()
}

fn said(regressions: &[Regression]) -> Vec<String> {
    regressions.iter().map(ToString::to_string).collect()
}

/// Only this, for certain.
fn certain(change: impl FnOnce(&mut Inventory)) -> Vec<String> {
    let found = found(change);
    assert_eq!(said(&found.perhaps), [""; 0]);
    said(&found.certain)
}

/// Only this, perhaps.
fn perhaps(change: impl FnOnce(&mut Inventory)) -> Vec<String> {
    let found = found(change);
    assert_eq!(said(&found.certain), [""; 0]);
    said(&found.perhaps)
}

const NOT_MERGED: &str =
    "extension docker is not merged, although /var/lib/extensions/docker.raw is there (before: merged)";
const NO_DOCKER: &str = "unit docker.service can't be found: it came with extension docker (before: active)";

fn unmerge(now: &mut Inventory) {
    now.extensions.merged.clear();
    of(now, "docker.service").load = "not-found".into();
    of(now, "docker.service").active = "inactive".into();
}

#[test]
fn the_same_system_is_as_before() {
    assert!(found(|_| ()).is_empty());
}

#[test]
fn an_offered_extension_that_is_not_merged_is_lost_with_its_units() {
    assert_eq!(certain(unmerge), [NOT_MERGED, NO_DOCKER]);
}

#[test]
fn beside_an_unmerged_extension_that_is_new_or_has_changed_none_is_lost_for_certain() {
    let other = |stamp| ExtensionOffer {
        path: "/var/lib/extensions/other.raw".into(),
        state: OfferState::There,
        stamp: Some(stamp),
        is_images: false,
    };
    let with_another = |now: &mut Inventory| {
        unmerge(now);
        now.extensions.offered.insert("other".into(), other(stamp(1)));
    };
    let told = perhaps(with_another);
    assert!(told[0].contains("other is new or has changed"), "{told:?}");
    // One that was never merged keeps nobody else from it, unless it has changed.
    let mut before = super::super::record::Baseline::default();
    let mut now = Inventory::default();
    let docker = RecordedExtension {
        name: "docker".into(),
        ..RecordedExtension::default()
    };
    let never = RecordedExtension {
        name: "other".into(),
        stamp: Some(stamp(1)),
        ..RecordedExtension::default()
    };
    before.extensions = vec![docker];
    before.unmerged_extensions = vec![never];
    now.extensions.offered.insert("docker".into(), other(stamp(7)));
    now.extensions.offered.insert("other".into(), other(stamp(1)));
    assert_eq!(compare(&before, &now, &[]).certain.len(), 1);
    now.extensions.offered.insert("other".into(), other(stamp(2)));
    assert_eq!(compare(&before, &now, &[]).certain.len(), 0);
}

#[test]
fn what_is_missing_in_usr_is_not_the_images_doing_once_an_extension_is_gone() {
    let without_program = |now: &mut Inventory| {
        let unit = of(now, "app.service");
        unit.active = "failed".into();
        unit.exit_code = Some(203);
        unit.program_state = ProgramState::Missing("/usr/bin/dockerd".into());
    };
    assert_eq!(certain(without_program).len(), 1);
    let masked = |now: &mut Inventory| {
        unmerge(now);
        now.extensions.offered.get_mut("docker").unwrap().state = OfferState::Masked;
        without_program(now);
    };
    let told = perhaps(masked);
    assert!(
        told.iter().any(|told| told.contains("/usr/bin/dockerd")),
        "{told:?}"
    );
    // Lost with an extension that is lost for certain, it is.
    let lost = |now: &mut Inventory| {
        unmerge(now);
        without_program(now);
    };
    assert_eq!(certain(lost).len(), 3);
}

#[test]
fn an_extension_that_is_not_meant_any_more_is_not_required_nor_are_its_units() {
    let nothing = [""; 0];
    let removed = |now: &mut Inventory| {
        unmerge(now);
        now.extensions.offered.clear();
    };
    assert_eq!(certain(removed), nothing);
    let masked = |now: &mut Inventory| {
        unmerge(now);
        now.extensions
            .offered
            .insert("docker".into(), offer(OfferState::Masked));
    };
    // It is known what hides it, so that its unit is told.
    assert_eq!(perhaps(masked), [NO_DOCKER]);
    let switched_off = |now: &mut Inventory| {
        unmerge(now);
        of(now, "systemd-sysext.service").enablement = "disabled".into();
        of(now, "systemd-sysext.service").active = "inactive".into();
    };
    assert_eq!(perhaps(switched_off), [NO_DOCKER]);
}

#[test]
fn an_extension_that_may_still_come_or_came_otherwise_is_told_only() {
    let under_way = |now: &mut Inventory| {
        unmerge(now);
        of(now, "systemd-sysext.service").active = "activating".into();
    };
    assert_eq!(
        perhaps(under_way),
        [
            "extension docker is not merged yet by systemd-sysext.service (before: merged)",
            NO_DOCKER
        ]
    );
    let dangling = |now: &mut Inventory| {
        unmerge(now);
        now.extensions
            .offered
            .insert("docker".into(), offer(OfferState::Dangling));
    };
    assert_eq!(perhaps(dangling).len(), 2);
    let replaced = |now: &mut Inventory| {
        unmerge(now);
        now.extensions.offered.get_mut("docker").unwrap().stamp = Some(stamp(2));
    };
    assert!(perhaps(replaced)[0].contains("; it has changed since"));
    let in_the_image = |now: &mut Inventory| {
        now.extensions.merged.clear();
        of(now, "docker.service").origin = UnitOrigin::Image;
    };
    assert_eq!(
        perhaps(in_the_image),
        [
            "extension docker is not merged, although /var/lib/extensions/docker.raw is there; what runs its \
             units now has taken its place (before: merged)"
        ]
    );
    let another_version = |now: &mut Inventory| {
        now.extensions.merged = ["docker-28.0.1".to_owned()].into();
    };
    assert!(perhaps(another_version)[0].contains("extension docker-28.0.1 has taken its place"));
}

#[test]
fn an_extension_that_the_image_has_dropped_is_told() {
    let mut before = well();
    before.extensions.offered.get_mut("docker").unwrap().is_images = true;
    let mut now = well();
    unmerge(&mut now);
    now.extensions.offered.clear();
    let found = compare(&baseline(&before), &now, &[]);
    assert_eq!(said(&found.certain), [""; 0]);
    assert_eq!(
        said(&found.perhaps),
        [
            "extension docker is not offered any more (before: merged)",
            NO_DOCKER
        ]
    );
}

#[test]
fn an_operators_unit_that_can_not_be_loaded_is_lost_unless_its_files_have_changed() {
    let broken = |now: &mut Inventory| of(now, "app.service").load = "bad-setting".into();
    assert_eq!(
        certain(broken),
        ["unit app.service can't be loaded: bad-setting (before: active)"]
    );
    let edited = |now: &mut Inventory| {
        broken(now);
        now.files.insert(FILE.into(), stamp(2));
    };
    assert_eq!(perhaps(edited).len(), 1);
    let with_a_new_drop_in = |now: &mut Inventory| {
        broken(now);
        let path = "/etc/systemd/system/app.service.d/a.conf";
        of(now, "app.service").drop_ins = vec![path.into()];
        now.files.insert(path.into(), stamp(1));
    };
    assert_eq!(perhaps(with_a_new_drop_in).len(), 1);
    let the_images = |now: &mut Inventory| of(now, "sshd.service").load = "bad-setting".into();
    assert_eq!(perhaps(the_images).len(), 1);
    let not_found = |now: &mut Inventory| of(now, "app.service").load = "not-found".into();
    assert_eq!(certain(not_found).len(), 1);
    let removed = |now: &mut Inventory| {
        not_found(now);
        now.files.clear();
    };
    assert_eq!(certain(removed), [""; 0]);
    for (target, is_certain) in [
        ("/usr/share/app/app.service", true),
        ("/opt/app/app.service", false),
        ("/usr/local/app.service", false),
    ] {
        let linked = |now: &mut Inventory| {
            not_found(now);
            now.dangling.insert(FILE.into(), target.into());
        };
        let told = format!("unit app.service can't be found: {FILE} is a link to {target} (before: active)");
        // That of the uncertain also sees that nothing is certain.
        let found = if is_certain {
            certain(linked)
        } else {
            perhaps(linked)
        };
        assert_eq!(found, [told]);
    }
    // A file that couldn't be read, or no memory.
    let unread = |now: &mut Inventory| of(now, "app.service").load = "error".into();
    assert_eq!(
        perhaps(unread),
        ["unit app.service can't be loaded: error (before: active)"]
    );
}

fn not_executable(state: ProgramState) -> impl Fn(&mut Inventory) {
    move |now| {
        let app = of(now, "app.service");
        app.active = "failed".into();
        app.result = "exit-code".into();
        app.exit_code = Some(203);
        app.program_state = state.clone();
    }
}

#[test]
fn an_operators_unit_whose_program_the_image_lacks_is_lost() {
    let missing = |path: &str| not_executable(ProgramState::Missing(path.into()));
    assert_eq!(
        certain(missing("/usr/bin/app")),
        ["unit app.service has no program any more: /usr/bin/app is missing (before: active)"]
    );
    let interpreter = ProgramState::InterpreterMissing("/usr/bin/python3".into());
    assert_eq!(
        certain(not_executable(interpreter)),
        [
            "unit app.service can't run /usr/bin/app: its interpreter /usr/bin/python3 is missing (before: active)"
        ]
    );
    // Both slots share these: it is not the image's doing.
    for path in ["/opt/bin/app", "/usr/local/bin/app", "/data/app"] {
        assert_eq!(perhaps(missing(path)).len(), 1, "{path}");
    }
    assert_eq!(perhaps(not_executable(ProgramState::Unremarkable)).len(), 1);
    let restarting = |now: &mut Inventory| {
        missing("/usr/bin/app")(now);
        of(now, "app.service").active = "activating".into();
        of(now, "app.service").sub = "auto-restart".into();
    };
    assert_eq!(certain(restarting).len(), 1);
    // Seen in the moment in which it is active once more.
    let just_started = |now: &mut Inventory| {
        missing("/usr/bin/app")(now);
        let app = of(now, "app.service");
        (app.active, app.exit_code) = ("active".into(), None);
        (app.restarts, app.active_since) = (7, 59_000_000);
    };
    assert_eq!(certain(just_started).len(), 1);
}

#[test]
fn units_that_fail_by_themselves_or_are_the_images_are_told_only() {
    let failed = |now: &mut Inventory| {
        of(now, "app.service").active = "failed".into();
        of(now, "app.service").result = "exit-code".into();
        of(now, "app.service").exit_code = Some(7);
    };
    assert_eq!(
        perhaps(failed),
        ["unit app.service has failed (exit code 7) (before: active)"]
    );
    let restarting = |now: &mut Inventory| {
        of(now, "app.service").active = "activating".into();
        of(now, "app.service").sub = "auto-restart".into();
    };
    assert_eq!(
        perhaps(restarting),
        ["unit app.service ends and is restarted again and again (before: active)"]
    );
    let restarted = |now: &mut Inventory| {
        of(now, "app.service").restarts = 4;
        of(now, "app.service").active_since = 59_000_000;
    };
    assert_eq!(
        perhaps(restarted),
        ["unit app.service was restarted 4 times since the boot (before: active)"]
    );
    let gone = |now: &mut Inventory| of(now, "sshd.service").load = "not-found".into();
    assert_eq!(
        perhaps(gone),
        ["unit sshd.service can't be found (before: active)"]
    );
    let unmounted = |now: &mut Inventory| of(now, "data.mount").active = "inactive".into();
    assert_eq!(
        perhaps(unmounted),
        ["unit data.mount isn't mounted (before: active)"]
    );
    let inactive = |now: &mut Inventory| of(now, "sshd.service").active = "inactive".into();
    assert_eq!(
        perhaps(inactive),
        ["unit sshd.service isn't active (before: active)"]
    );
    assert_eq!(
        perhaps(|now| now.default_route = false),
        ["the default route is missing (before: there)"]
    );
}

#[test]
fn what_is_not_meant_or_still_starts_or_is_excused_is_nothing() {
    type Change = fn(&mut Inventory);
    let changes: [Change; 8] = [
        |now| {
            of(now, "app.service").active = "inactive".into();
            of(now, "app.service").enablement = "disabled".into();
        },
        |now| of(now, "app.service").load = "masked".into(),
        |now| of(now, "data.mount").load = "not-found".into(),
        |now| of(now, "app.service").active = "activating".into(),
        |now| {
            of(now, "app.service").active = "inactive".into();
            of(now, "app.service").has_job = true;
        },
        |now| {
            of(now, "app.service").active = "inactive".into();
            now.default_route = false;
            now.system = SystemState::Starting;
        },
        |now| now.units.clear(),
        |now| of(now, "app.service").active = "reloading".into(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(found(change).is_empty(), "{number}: {:?}", found(change));
    }
    let mut now = well();
    not_executable(ProgramState::Missing("/usr/bin/app".into()))(&mut now);
    let excused = [UnitName::new("app").unwrap()];
    assert!(compare(&baseline(&well()), &now, &excused).is_empty());
}

#[test]
fn names_of_extensions_have_a_stem() {
    for (name, expected) in [
        ("docker", "docker"),
        ("docker-27.1", "docker"),
        ("kubernetes-v1.29.2-x86-64", "kubernetes"),
        ("docker-flatcar", "docker-flatcar"),
        ("k8s_1", "k8s"),
        ("9p", "9p"),
        ("-1", ""),
    ] {
        assert_eq!(stem(name), expected, "{name}");
    }
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

fn any_unit() -> impl Strategy<Value = UnitFacts> {
    let origin = proptest::sample::select(vec![
        UnitOrigin::Operator,
        UnitOrigin::Extension("docker".into()),
        UnitOrigin::Image,
        UnitOrigin::Generated,
    ]);
    let states = (
        word(&["loaded", "not-found", "bad-setting", "error", "masked"]),
        word(&["active", "inactive", "failed", "activating", "reloading"]),
        word(&["running", "dead", "auto-restart"]),
        word(&["enabled", "disabled", "static", "masked", ""]),
    );
    let program = proptest::sample::select(vec![
        ProgramState::Unremarkable,
        ProgramState::Missing("/usr/bin/app".into()),
        ProgramState::Missing("/opt/app".into()),
    ]);
    let numbers = (
        proptest::option::of(0..256_i32),
        0..9_u32,
        any::<bool>(),
        0..2_000_000_000_u64,
    );
    (origin, states, program, numbers).prop_map(
        |(origin, (load, active, sub, enablement), program_state, numbers)| {
            let (exit_code, restarts, has_job, active_since) = numbers;
            UnitFacts {
                load,
                active,
                sub,
                enablement,
                exit_code,
                restarts,
                active_since,
                has_job,
                program_state,
                ..unit(origin)
            }
        },
    )
}

fn any_inventory() -> impl Strategy<Value = Inventory> {
    let units = proptest::collection::btree_map("[a-e]\\.service", any_unit(), 0..6);
    let offered = proptest::option::of(proptest::sample::select(vec![
        OfferState::There,
        OfferState::Masked,
        OfferState::Dangling,
    ]));
    let system = proptest::sample::select(vec![SystemState::Starting, SystemState::Up]);
    (
        units,
        any::<(bool, bool)>(),
        offered,
        system,
        proptest::option::of(0..3_i64),
    )
        .prop_map(
            |(units, (merged, default_route), offered, system, file)| Inventory {
                up: Duration::from_secs(2000),
                units,
                extensions: ExtensionFacts {
                    merged: merged.then(|| "docker".to_owned()).into_iter().collect(),
                    offered: offered
                        .map(|state| ("docker".to_owned(), offer(state)))
                        .into_iter()
                        .collect(),
                },
                files: file
                    .map(|modified| (FILE.to_owned(), stamp(modified)))
                    .into_iter()
                    .collect(),
                default_route,
                system,
                ..Inventory::default()
            },
        )
}

proptest! {
    /// Nothing is worse than itself, but for units that flap.
    #[test]
    fn no_system_is_worse_than_itself(now in any_inventory()) {
        let found = compare(&baseline(&now), &now, &[]);
        prop_assert_eq!(&found.certain, &[]);
        prop_assert!(found.perhaps.iter().all(|regression| regression.now.contains("restarted")), "{:?}", found);
    }

    /// Certain is only what is an offered extension's or a unit of it or of the operator's.
    #[test]
    fn nothing_of_the_images_is_certain(before in any_inventory(), now in any_inventory()) {
        let record = baseline(&before);
        for regression in compare(&record, &now, &[]).certain {
            match regression.subject {
                RegressionSubject::Extension => {
                    let offer = &now.extensions.offered[&regression.name];
                    prop_assert_eq!(offer.state, OfferState::There);
                    prop_assert!(!now.extensions.merged.contains(&regression.name));
                }
                RegressionSubject::Unit => {
                    let unit = record.units.iter().find(|unit| unit.name == regression.name).unwrap();
                    prop_assert!(!matches!(unit.origin, UnitOrigin::Image | UnitOrigin::Generated));
                    prop_assert!(!now.units[&regression.name].is_active() || now.units[&regression.name].load != "loaded");
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    /// Excused units are not told, and change nothing about others.
    #[test]
    fn an_excuse_takes_out_its_unit_alone(before in any_inventory(), now in any_inventory()) {
        let record = baseline(&before);
        let excused = [UnitName::new("a.service").unwrap()];
        let without = |regressions: Vec<Regression>| -> Vec<Regression> {
            regressions.into_iter().filter(|regression| regression.name != "a.service").collect()
        };
        let (all, rest) = (compare(&record, &now, &[]), compare(&record, &now, &excused));
        prop_assert_eq!(without(all.certain), rest.certain);
        prop_assert_eq!(without(all.perhaps), rest.perhaps);
    }
}
