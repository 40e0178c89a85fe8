//! Properties that hold for all systems.

use proptest::prelude::*;

use super::*;

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
