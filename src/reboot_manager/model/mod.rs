//! A model checker over the [`step`](super::step()) that ships: two or three nodes, a lock of one or two places, a good version or a bad
//! one; nodes lose power, roll back and hang, managers are killed, records can't be written, answers of the lock's server
//! are lost or late, windows close.
//!
//! Each world that can be reached is looked at once; nodes that are alike are exchanged for each other. Held in each:
//! never more holders than places, no node down or on trial by our order without the lock, no reboot for a withdrawn
//! update, a bad version on no more nodes than there are places. And from each a world can be reached in which everything
//! is as it should be in the end: a lock that nobody would give back any more would be found.

mod search;
mod world;

use search::{Found, explore};
use world::{Budget, Sabotage, Scenario};

const GOOD: Scenario = Scenario {
    nodes: 3,
    places: 1,
    is_bad: false,
    sabotage: None,
    budget: Budget {
        kills: 0,
        cuts: 0,
        withdrawals: 0,
        losses: 0,
        vetoes: 0,
        unsaved: 0,
        requests: 0,
        releases: 0,
    },
};

const BAD: Scenario = Scenario { is_bad: true, ..GOOD };

fn of_two(scenario: Scenario) -> Scenario {
    Scenario {
        places: 2,
        ..scenario
    }
}

fn with(scenario: Scenario, change: impl FnOnce(&mut Budget)) -> Scenario {
    let mut scenario = scenario;
    change(&mut scenario.budget);
    scenario
}

fn holds(name: &str, scenario: Scenario) {
    match explore(scenario) {
        Found::Nothing { states, steps } => println!("{name}: {states} states, {steps} steps, nothing found"),
        Found::Violation { what, path, states } => {
            panic!("{name}: after {states} states: {what}\n{}", path.join("\n"));
        }
    }
}

type Change = fn(&mut Budget);

/// The manager is killed, or an answer of the lock's server is lost, in addition.
const FAULTS: [(&str, Change); 2] = [
    ("a manager is killed", |budget| budget.kills += 1),
    ("an answer is lost", |budget| budget.losses += 1),
];

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
fn a_withdrawal_at_any_moment_is_heeded_and_leaves_no_lock() {
    for (name, fault) in FAULTS {
        let withdrawn = with(with(GOOD, fault), |budget| budget.withdrawals = 1);
        holds(&format!("withdrawn, {name}"), withdrawn);
    }
}

#[test]
fn power_cuts_vetoes_and_full_disks_leave_no_lock_that_nobody_holds() {
    let kinds: [Change; 4] = [
        |budget| budget.cuts = 1,
        |budget| budget.vetoes = 1,
        |budget| budget.unsaved = 1,
        |budget| budget.requests = 1,
    ];
    for (name, kind) in ["power cut", "veto", "not saved", "request"].iter().zip(kinds) {
        holds(name, with(GOOD, kind));
    }
    holds("power cut, bad", with(BAD, |budget| budget.cuts = 1));
}

#[test]
fn a_request_at_any_moment_releases_no_bad_version() {
    let requested = with(BAD, |budget| budget.requests = 1);
    holds("request, bad", requested);
    // Two nodes are enough for one that gets a lock which another should have kept.
    let of_two_nodes = Scenario {
        nodes: 2,
        ..requested
    };
    holds(
        "two requests, bad",
        with(of_two_nodes, |budget| budget.requests = 2),
    );
    holds(
        "request, power cut, bad",
        with(of_two_nodes, |budget| budget.cuts = 1),
    );
    for (name, fault) in FAULTS {
        holds(&format!("request, bad, {name}"), with(of_two_nodes, fault));
    }
}

#[test]
fn what_an_operator_releases_is_not_held_any_more() {
    holds("released", with(BAD, |budget| budget.releases = 1));
}

#[test]
fn every_sabotage_is_caught() {
    let withdrawn: Change = |budget| budget.withdrawals = 1;
    let sabotages: [(Sabotage, Scenario); 7] = [
        (Sabotage::ReleaseAtBoot, GOOD),
        (Sabotage::ExpiringLease, GOOD),
        (Sabotage::UnlockOfAnother, of_two(GOOD)),
        (Sabotage::ReleaseOnRollback, BAD),
        (Sabotage::LostWithdrawal, with(GOOD, withdrawn)),
        (Sabotage::TwoManagers, GOOD),
        (
            Sabotage::NoFence,
            with(GOOD, |budget| (budget.kills, budget.losses) = (1, 1)),
        ),
    ];
    for (sabotage, scenario) in sabotages {
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
            }
            Found::Nothing { states, .. } => panic!("{sabotage:?} is not caught in {states} states"),
        }
    }
}
