//! Breadth-first search over worlds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::world::{Scenario, World};

/// Outcome of a search.
pub(super) enum Found {
    Nothing {
        states: usize,
        steps: usize,
    },
    Violation {
        what: String,
        /// From the beginning.
        path: Vec<String>,
        states: usize,
    },
}

/// No scenario has more: one that grows beyond is too much for a test.
const MOST: usize = 400_000;
/// Nor a deep one.
const MOST_DEEP: usize = 40_000_000;

#[derive(Default)]
struct Graph {
    /// Parent and action of each world but the first.
    parents: Vec<(u32, String)>,
    /// For each world, those from which it is reached.
    before: Vec<Vec<u32>>,
    is_settled: Vec<bool>,
}

pub(super) fn explore(scenario: Scenario) -> Found {
    let first = World::new(scenario);
    let mut numbers: HashMap<u128, u32> = HashMap::from([(first.fingerprint(), 0)]);
    let mut graph = Graph::default();
    graph.add(0, String::new(), &first);
    let mut queue = std::collections::VecDeque::from([(0_u32, first)]);
    let mut steps = 0;
    let most = if super::is_deep() { MOST_DEEP } else { MOST };
    while let Some((number, world)) = queue.pop_front() {
        for (action, after) in world.successors() {
            steps += 1;
            let violation = after.violation();
            let next = u32::try_from(numbers.len()).unwrap();
            let reached = match numbers.entry(after.fingerprint()) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(place) => {
                    place.insert(next);
                    graph.add(number, action, &after);
                    queue.push_back((next, after));
                    next
                }
            };
            graph.before[reached as usize].push(number);
            if let Some(what) = violation {
                return graph.violation(what, reached);
            }
        }
        assert!(numbers.len() < most, "too many states");
    }
    match graph.astray() {
        Some(number) => graph.violation("nothing leads to a good end from here".to_owned(), number),
        None => Found::Nothing {
            states: graph.parents.len(),
            steps,
        },
    }
}

impl Graph {
    fn add(&mut self, parent: u32, action: String, world: &World) {
        self.parents.push((parent, action));
        self.before.push(Vec::new());
        self.is_settled.push(world.is_settled());
    }

    /// The first world from which no settled one can be reached.
    fn astray(&self) -> Option<u32> {
        let mut leads = self.is_settled.clone();
        let mut todo: Vec<usize> = (0..leads.len()).filter(|&at| leads[at]).collect();
        while let Some(at) = todo.pop() {
            for &before in &self.before[at] {
                if !std::mem::replace(&mut leads[before as usize], true) {
                    todo.push(before as usize);
                }
            }
        }
        leads
            .iter()
            .position(|leads| !leads)
            .map(|at| u32::try_from(at).unwrap())
    }

    fn violation(&self, what: String, at: u32) -> Found {
        let mut path = Vec::new();
        let mut at = at;
        while at != 0 {
            let (parent, action) = &self.parents[at as usize];
            path.push(action.clone());
            at = *parent;
        }
        path.reverse();
        Found::Violation {
            what,
            path,
            states: self.parents.len(),
        }
    }
}
