//! Each row of the table, and properties that hold for all systems.
#![allow(clippy::unwrap_used)]

mod merging;
mod properties;

use std::time::Duration;

use super::super::inventory::{ExtensionOffer, FileStamp, OfferState};
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
