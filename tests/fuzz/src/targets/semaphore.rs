//! The semaphore of nodes that reboot, as it stands in etcd.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use update_engine::reboot_lock::{Note, Refusal, Semaphore};

use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "semaphore",
    property: "Who takes a place was no holder and there was room; who gives it back leaves the others and the \
               number as they were; what others wrote beside is kept; what is written is read alike.",
    check,
};

const NODES: [&str; 4] = ["a", "b", "c", ""];

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let steps: [u8; 6] = std::array::from_fn(|_| input.byte());
    let number = input.long().cast_signed();
    let read = if input.is_odd() {
        Semaphore::read(input.rest()).ok()
    } else {
        Some(any(&mut input))
    };
    let Some(mut semaphore) = read else { return };
    for step in steps {
        let node = NODES[usize::from(step >> 6)];
        let before = semaphore.clone();
        semaphore = match step % 4 {
            0 => {
                let after = locked(&before, node, bug);
                after.unwrap_or(before)
            }
            1 => unlocked(&before, node).unwrap_or(before),
            2 => {
                let after = before.with_max(number);
                assert_eq!((after.max, after.holders()), (number, before.holders()));
                after
            }
            _ => {
                let after = before.with_note(node, Note::default());
                assert_eq!(after.holders(), before.holders());
                after
            }
        };
        let written = semaphore.text();
        let again = Semaphore::read(written.as_bytes()).expect("what was written");
        assert_eq!(again.text(), written);
        assert_eq!(again.holders(), semaphore.holders());
    }
}

fn any(input: &mut Input<'_>) -> Semaphore {
    let holders = (0..input.byte() % 5)
        .map(|_| (*input.one_of(&NODES)).to_owned())
        .collect();
    let extreme = |input: &mut Input<'_>| match input.byte() % 4 {
        0 => i64::MAX,
        1 => i64::MIN,
        _ => i64::from(input.byte() % 8),
    };
    Semaphore {
        semaphore: extreme(input),
        max: extreme(input),
        holders: input.is_odd().then_some(holders),
        notes: BTreeMap::new(),
        rest: Map::from_iter([("later".to_owned(), Value::String(input.text()))]),
    }
}

fn locked(before: &Semaphore, node: &str, bug: Bug) -> Option<Semaphore> {
    let is_held = before.is_held_by(node);
    match before.lock(node) {
        Ok(mut after) => {
            if bug.strikes(before.holders().len() == 2) {
                after.holders.as_mut().expect("holders").pop();
            }
            assert!(!is_held && after.is_held_by(node));
            let holders = i64::try_from(after.holders().len()).expect("a few");
            assert!(holders <= after.max, "{holders} of {}", after.max);
            assert_eq!(after.holders().len(), before.holders().len() + 1);
            assert_eq!(after.semaphore, before.semaphore - 1);
            assert_eq!(after.rest, before.rest);
            Some(after)
        }
        Err(Refusal::Exists) => {
            assert!(is_held);
            None
        }
        Err(refusal) => {
            let holders = i64::try_from(before.holders().len()).expect("a few");
            assert!(
                before.semaphore <= 0 || holders >= before.max,
                "{refusal} of {before:?}"
            );
            None
        }
    }
}

fn unlocked(before: &Semaphore, node: &str) -> Option<Semaphore> {
    let Ok(after) = before.unlock(node) else {
        assert!(!before.is_held_by(node));
        return None;
    };
    assert!(!after.is_held_by(node) && after.semaphore >= before.semaphore);
    let left = before.holders().iter().filter(|holder| *holder != node);
    assert!(after.holders().iter().eq(left));
    assert_eq!((after.max, &after.rest), (before.max, &before.rest));
    Some(after)
}
