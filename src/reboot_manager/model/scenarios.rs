//! Scenarios: nodes, versions and faults that searches begin with.

use super::super::AfterRollback;
use super::world::{Activation, Budget, Scenario};

pub(super) const NOTHING: Budget = Budget {
    kills: 0,
    cuts: 0,
    hangs: 0,
    withdrawals: 0,
    losses: 0,
    repeats: 0,
    vetoes: 0,
    unsaved: 0,
    requests: 0,
    releases: 0,
    reinstalls: 0,
    rollbacks: 0,
    silences: 0,
    blindness: 0,
    business: 0,
    refusals: 0,
    damages: 0,
    unactivated: 0,
};

pub(super) const GOOD: Scenario = Scenario {
    nodes: 3,
    places: 1,
    newest: 2,
    bad: None,
    after_rollback: AfterRollback::Hold,
    tells_holders: true,
    activation: Activation::AtOnce,
    sabotage: None,
    budget: NOTHING,
};

pub(super) const BAD: Scenario = Scenario { bad: Some(2), ..GOOD };

/// A bad version, and then a good one in its place.
pub(super) const MENDED: Scenario = Scenario {
    nodes: 2,
    newest: 3,
    ..BAD
};

pub(super) const fn on(nodes: usize, scenario: Scenario) -> Scenario {
    Scenario { nodes, ..scenario }
}

pub(super) const fn activated_by(activation: Activation, scenario: Scenario) -> Scenario {
    Scenario {
        activation,
        ..scenario
    }
}

pub(super) const fn of_two(scenario: Scenario) -> Scenario {
    Scenario {
        places: 2,
        ..scenario
    }
}

pub(super) fn with(scenario: Scenario, change: impl FnOnce(&mut Budget)) -> Scenario {
    let mut scenario = scenario;
    change(&mut scenario.budget);
    scenario
}

pub(super) type Change = fn(&mut Budget);

/// The manager is killed, or an answer of the lock's server is lost, in addition.
pub(super) const FAULTS: [(&str, Change); 2] = [
    ("a manager is killed", |budget| budget.kills += 1),
    ("an answer is lost", |budget| budget.losses += 1),
];

/// Whatever else may happen once.
pub(super) const ONCE: [(&str, Change); 14] = [
    ("power cut", |budget| budget.cuts = 1),
    ("hang", |budget| budget.hangs = 1),
    ("hang and reset", |budget| (budget.hangs, budget.cuts) = (1, 1)),
    ("withdrawal", |budget| budget.withdrawals = 1),
    ("request carried out twice", |budget| budget.repeats = 1),
    ("veto", |budget| budget.vetoes = 1),
    ("not saved", |budget| budget.unsaved = 1),
    ("request", |budget| budget.requests = 1),
    ("rollback by hand", |budget| budget.rollbacks = 1),
    ("silent engine", |budget| budget.silences = 1),
    ("engine without slots", |budget| budget.blindness = 1),
    ("busy engine", |budget| budget.business = 1),
    ("refusal by logind", |budget| budget.refusals = 1),
    ("damaged record", |budget| budget.damages = 1),
];

/// What happens to updates that are staged, beside what may happen to any.
pub(super) const STAGED: [(&str, Change); 8] = [
    ("nothing", |_| ()),
    ("not activated by a reboot", |budget| budget.unactivated = 1),
    ("not activated by any reboot", |budget| budget.unactivated = 2),
    ("not activated, a manager is killed", |budget| {
        (budget.unactivated, budget.kills) = (1, 1);
    }),
    ("not activated, power cut", |budget| {
        (budget.unactivated, budget.cuts) = (1, 1);
    }),
    ("not activated, withdrawn", |budget| {
        (budget.unactivated, budget.withdrawals) = (1, 1);
    }),
    ("not activated, request", |budget| {
        (budget.unactivated, budget.requests) = (1, 1);
    }),
    ("not activated, damaged record", |budget| {
        (budget.unactivated, budget.damages) = (1, 1);
    }),
];
