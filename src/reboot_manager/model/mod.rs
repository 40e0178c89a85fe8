//! A model checker over the [`step`](super::step()) that ships: two or three nodes, a lock of one or two places, good versions
//! and a bad one, activated at once or staged; nodes lose power, roll back and hang, managers are killed, records can't be written or read, answers of
//! engine, logind and the lock's server are lost, late or come twice, clocks are set and windows close.
//!
//! Each reachable world is visited once; worlds that differ only in the order of equal nodes count as one. Invariants of each
//! world: never more holders than places, no node down or on trial by the manager's order without the lock, no reboot for a
//! withdrawn update, a bad version on no more nodes than there are places, no lock lost that is kept after a rollback. Liveness:
//! from each world a good end can be reached, in which every lock was given back and the good version is on every node.
//!
//! What `step` did in the searches is compared with all that it can do: [`coverage`].

mod coverage;
mod scenarios;
mod search;
mod world;

use super::AfterRollback;
use scenarios::{BAD, Change, FAULTS, GOOD, MENDED, ONCE, STAGED, activated_by, of_two, on, with};
use search::{Found, explore};
use world::{Activation, Sabotage, Scenario};

/// Searches for more than a test has time for, with `REBOOT_MODEL=deep`.
fn is_deep() -> bool {
    std::env::var("REBOOT_MODEL").is_ok_and(|value| value == "deep")
}

fn holds(name: &str, scenario: Scenario) {
    match explore(scenario) {
        Found::Nothing { states, steps } => println!("{name}: {states} states, {steps} steps, nothing found"),
        Found::Violation { what, path, states } => {
            panic!("{name}: after {states} states: {what}\n{}", path.join("\n"));
        }
    }
}

#[test]
fn a_good_version_reaches_everybody_one_after_the_other() {
    holds(
        "good, one place, both",
        with(GOOD, |budget| (budget.kills, budget.losses) = (1, 1)),
    );
    for (name, fault) in FAULTS {
        holds(&format!("good, two places, {name}"), of_two(with(GOOD, fault)));
    }
}

#[test]
fn a_bad_version_touches_as_many_nodes_as_there_are_places() {
    for (name, fault) in FAULTS {
        holds(&format!("bad, one place, {name}"), with(BAD, fault));
        holds(&format!("bad, two places, {name}"), of_two(with(BAD, fault)));
    }
}

#[test]
fn a_good_version_in_place_of_a_bad_one_reaches_everybody() {
    holds("mended", MENDED);
    holds("mended, two places", of_two(MENDED));
}

#[test]
fn a_withdrawal_at_any_moment_is_heeded_and_leaves_no_lock() {
    for (name, fault) in FAULTS {
        let withdrawn = with(with(GOOD, fault), |budget| budget.withdrawals = 1);
        holds(&format!("withdrawn, {name}"), withdrawn);
    }
    let lost = with(on(2, GOOD), |budget| {
        (budget.withdrawals, budget.refusals, budget.kills) = (1, 1, 1);
    });
    holds("withdrawn, logind's answer is lost, a manager is killed", lost);
}

#[test]
fn whatever_happens_once_leaves_no_lock_that_nobody_holds() {
    for (name, kind) in ONCE {
        holds(&format!("good, {name}"), with(on(2, GOOD), kind));
        holds(&format!("bad, {name}"), with(on(2, BAD), kind));
    }
}

#[test]
fn a_request_at_any_moment_releases_no_bad_version() {
    holds("request, bad", with(BAD, |budget| budget.requests = 1));
    // Two nodes are enough for one that gets a lock which another should have kept.
    let requested = with(on(2, BAD), |budget| budget.requests = 1);
    holds("two requests, bad", with(requested, |budget| budget.requests = 2));
    holds(
        "request, power cut, bad",
        with(requested, |budget| budget.cuts = 1),
    );
    for (name, fault) in FAULTS {
        holds(&format!("request, bad, {name}"), with(requested, fault));
    }
    let again = with(on(1, BAD), |budget| {
        (budget.requests, budget.releases, budget.reinstalls) = (2, 1, 1);
    });
    holds("requests, bad, released and installed again", again);
    let mended = with(on(1, MENDED), |budget| budget.requests = 2);
    holds("requests, mended", mended);
}

/// The manager that is killed may have ordered a reboot that logind is amid, and only its record knows.
#[test]
fn a_manager_that_is_killed_and_has_lost_its_record_gives_nothing_back_while_the_machine_goes_down() {
    let change: Change = |budget| (budget.kills, budget.damages) = (1, 1);
    for (what, scenario) in [
        ("good", on(2, GOOD)),
        ("bad", on(2, BAD)),
        ("mended", on(1, MENDED)),
    ] {
        let lost = with(scenario, change);
        holds(&format!("{what}, killed, damaged"), lost);
        let withdrawn = with(lost, |budget| budget.withdrawals = 1);
        holds(&format!("{what}, killed, damaged, withdrawn"), withdrawn);
        let staged = activated_by(Activation::Reboot, lost);
        holds(&format!("staged for a reboot, {what}, killed, damaged"), staged);
        let staged = with(staged, |budget| budget.unactivated = 1);
        holds(
            &format!("staged for a reboot, {what}, killed, damaged, not activated"),
            staged,
        );
    }
}

/// The manager's reboot activates them; where that comes to nothing, no version has failed by it, and no lock is held or given
/// back for it.
#[test]
fn a_reboot_activates_what_is_staged_and_one_that_does_not_is_no_rollback() {
    for (name, kind) in STAGED {
        for (what, scenario) in [
            ("good", on(2, GOOD)),
            ("bad", on(2, BAD)),
            ("mended", on(1, MENDED)),
        ] {
            let staged = activated_by(Activation::Reboot, with(scenario, kind));
            holds(&format!("staged for a reboot, {what}, {name}"), staged);
        }
    }
    for (name, kind) in ONCE.iter().chain(&FAULTS) {
        let staged = activated_by(Activation::Reboot, with(on(1, MENDED), *kind));
        holds(&format!("staged for a reboot, mended, {name}"), staged);
    }
}

/// Nobody is rebooted for them before, and a lock that is held after a rollback is not given back for one that is only staged.
#[test]
fn what_is_staged_until_an_order_comes_asks_for_no_reboot_before() {
    for (name, kind) in ONCE.iter().chain(&FAULTS) {
        for (what, scenario) in [("good", on(1, GOOD)), ("mended", on(1, MENDED))] {
            let staged = activated_by(Activation::Order, with(scenario, *kind));
            holds(&format!("staged until an order, {what}, {name}"), staged);
        }
    }
    for (what, scenario) in [("good", on(2, GOOD)), ("bad", on(2, BAD)), ("mended", MENDED)] {
        let staged = activated_by(Activation::Order, scenario);
        holds(&format!("staged until an order, two nodes, {what}"), staged);
    }
}

#[test]
fn what_an_operator_releases_is_not_held_any_more() {
    holds("released", with(BAD, |budget| budget.releases = 1));
}

/// Every kind of event, job, notice and obstacle; and in each phase that was seen every event for which `step` has an answer
/// there.
#[test]
fn every_action_of_the_code_is_explored() {
    let seen = coverage::of(|| {
        let once = ONCE.iter().chain(&FAULTS);
        for (name, kind) in once {
            for (what, scenario) in [("good", GOOD), ("bad", BAD), ("mended", MENDED)] {
                // With a request the most comes together.
                let alone = with(with(on(1, scenario), *kind), |budget| budget.requests += 1);
                holds(&format!("one node, {what}, {name}"), alone);
            }
            holds(&format!("two nodes, bad, {name}"), with(on(2, BAD), *kind));
        }
        let full: [(&str, Change); 3] = [
            ("refusal by logind", |budget| budget.refusals = 1),
            ("damaged record", |budget| budget.damages = 1),
            ("an answer is lost", |budget| budget.losses = 1),
        ];
        for (name, kind) in full {
            let full = with(with(on(1, GOOD), kind), |budget| budget.unsaved = 1);
            holds(&format!("one node, not saved, {name}"), full);
        }
        let let_go = Scenario {
            after_rollback: AfterRollback::Release,
            ..on(1, BAD)
        };
        holds("one node, released after a rollback", let_go);
        let mute = Scenario {
            tells_holders: false,
            ..on(1, BAD)
        };
        holds("one node, holders aren't told", mute);
        holds(
            "one node, bad, released",
            with(on(1, BAD), |budget| budget.releases = 1),
        );
    });
    println!("{} phases and events", seen.arms.len());
    assert_eq!(seen.events, coverage::all_events());
    assert_eq!(seen.jobs.len(), coverage::JOBS, "{:?}", seen.jobs);
    assert_eq!(seen.notices.len(), coverage::NOTICES, "{:?}", seen.notices);
    assert_eq!(seen.obstacles.len(), coverage::OBSTACLES, "{:?}", seen.obstacles);
    assert_eq!(seen.missed_arms(), IMPOSSIBLE, "of {:?}", seen.arms);
}

/// What never comes: nothing is saved by a step that ends in one of these phases, and so none of them pauses.
const IMPOSSIBLE: [(&str, &str); 4] = [
    ("idle", "not-saved"),
    ("notifying-users", "not-saved"),
    ("notifying-users", "pause-over"),
    ("starting", "not-saved"),
];

#[test]
fn every_sabotage_is_caught() {
    const NO_LOCK: &str = "a node is down or on trial without the lock";
    const WITHDRAWN: &str = "a reboot for an update that was withdrawn";
    const LOST: &str = "a node that rolled back has lost the lock";
    const TWO: &str = "2 holders";
    const NOTHING_FAILED: &str = "the lock is kept for a rollback that never was";
    let withdrawn: Change = |budget| budget.withdrawals = 1;
    let killed_and_lost: Change = |budget| (budget.kills, budget.losses) = (1, 1);
    let refused: Change = |budget| (budget.withdrawals, budget.refusals) = (1, 1);
    let unactivated = activated_by(
        Activation::Reboot,
        with(on(1, GOOD), |budget| budget.unactivated = 2),
    );
    let sabotages: [(Sabotage, Scenario, &str); 11] = [
        (Sabotage::ReleaseAtBoot, GOOD, NO_LOCK),
        (Sabotage::ExpiringLease, GOOD, NO_LOCK),
        (Sabotage::UnlockOfAnother, of_two(GOOD), NO_LOCK),
        (Sabotage::ReleaseOnRollback, BAD, LOST),
        (Sabotage::LostWithdrawal, with(GOOD, withdrawn), WITHDRAWN),
        (Sabotage::TwoManagers, GOOD, TWO),
        (Sabotage::NoFence, with(GOOD, killed_and_lost), NO_LOCK),
        (
            Sabotage::BlindWrites,
            with(GOOD, |budget| budget.repeats = 1),
            TWO,
        ),
        (Sabotage::ForgottenOrder, with(GOOD, refused), WITHDRAWN),
        (
            Sabotage::StagedIsInstalled,
            activated_by(Activation::Order, MENDED),
            LOST,
        ),
        (Sabotage::UnactivatedIsBack, unactivated, NOTHING_FAILED),
    ];
    for (sabotage, scenario, expected) in sabotages {
        let found = explore(Scenario {
            sabotage: Some(sabotage),
            ..scenario
        });
        match found {
            Found::Violation { what, path, states } => {
                println!(
                    "{sabotage:?}: {what}, in {} steps, after {states} states",
                    path.len()
                );
                assert_eq!(what, expected, "{sabotage:?}");
            }
            Found::Nothing { states, .. } => panic!("{sabotage:?} is not caught in {states} states"),
        }
    }
}

/// Minutes to hours, and gigabytes.
#[test]
fn a_deep_search_finds_nothing_either() {
    if !is_deep() {
        println!("without REBOOT_MODEL=deep this test shows nothing");
        return;
    }
    for (first, one) in ONCE.iter().chain(&FAULTS) {
        for (second, other) in ONCE.iter().chain(&FAULTS) {
            for (what, scenario) in [("good", on(2, GOOD)), ("bad", on(2, BAD)), ("mended", MENDED)] {
                let scenario = with(with(scenario, one), other);
                holds(&format!("{what}, {first}, {second}"), scenario);
                holds(
                    &format!("{what}, two places, {first}, {second}"),
                    of_two(scenario),
                );
            }
        }
        holds(&format!("three nodes, good, {first}"), with(GOOD, one));
        holds(&format!("three nodes, bad, {first}"), with(BAD, one));
    }
}
