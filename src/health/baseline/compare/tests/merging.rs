//! Extensions that are merged no more, and their units.

use super::super::extensions::stem;
use super::*;

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
    let mut before = Baseline::default();
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
