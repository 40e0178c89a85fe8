//! The fair queue of calls: one of each caller in turn.
//!
//! A caller waits for no more answers than there are other callers, however many calls those have
//! made.

use std::collections::{HashMap, VecDeque};

use super::call::Caller;

/// Entries for which the tables keep memory when they are empty.
const KEPT: usize = 64;

/// Waiting calls by caller. Without a bound of its own: it holds as many calls as `CallLimits` lets
/// wait.
pub(super) struct FairQueue<T> {
    /// Callers that have a call waiting, each once; the first is next.
    callers: VecDeque<Caller>,
    waiting: HashMap<Caller, VecDeque<T>>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            callers: VecDeque::new(),
            waiting: HashMap::new(),
        }
    }
}

impl<T> FairQueue<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// Queues `call` behind those of the same caller, and a caller of whom nothing waits behind the
    /// others.
    pub(super) fn push(&mut self, caller: &Caller, call: T) {
        let own = self.waiting.entry(caller.clone()).or_default();
        if own.is_empty() {
            self.callers.push_back(caller.clone());
        }
        own.push_back(call);
    }

    /// The call whose turn it is.
    pub(super) fn next(&mut self) -> Option<T> {
        let caller = self.callers.pop_front()?;
        // Every caller in the queue has a call waiting.
        let own = self.waiting.get_mut(&caller)?;
        let call = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&caller);
        } else {
            self.callers.push_back(caller);
        }
        if self.is_empty() {
            self.callers.shrink_to(KEPT);
            self.waiting.shrink_to(KEPT);
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_caller_waits_for_one_answer_to_each_other() {
        let mut queue = FairQueue::default();
        for number in 0..250 {
            for call in 0..30 {
                queue.push(&format!(":1.{number}").into(), (number, call));
            }
        }
        let root = Caller::from(":1.1000");
        queue.push(&root, (1000, 0));
        queue.push(&root, (1000, 1));
        let order: Vec<(i32, i32)> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(order.len(), 7502);
        let place = |wanted| order.iter().position(|call| *call == wanted);
        assert_eq!(place((1000, 0)), Some(250));
        assert_eq!(place((1000, 1)), Some(501));
        let of_one: Vec<i32> = order
            .iter()
            .filter(|(number, _)| *number == 7)
            .map(|(_, call)| *call)
            .collect();
        assert!(of_one.is_sorted(), "in the order in which they were made");

        assert!(queue.is_empty() && queue.waiting.is_empty());
        assert!(queue.callers.capacity() <= 2 * KEPT && queue.waiting.capacity() <= 2 * KEPT);
    }
}
