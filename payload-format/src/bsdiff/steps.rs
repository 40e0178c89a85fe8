//! The control stream: what to add to which bytes of the old file, and what to insert.

use std::io::{BufRead, Cursor};
use std::sync::Arc;

use super::budget::{self, IDLE_STEPS, StepBudget};
use super::decoder::Decoder;
use super::{PatchError, PatchHeader, numbers};

/// One triple, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PatchStep {
    /// Where in the result it begins.
    pub(crate) at: u64,
    /// Where in the old file, which may be outside.
    pub(crate) old: i64,
    /// Bytes that come of both files.
    pub(crate) add: u64,
    /// Bytes that come after them.
    pub(crate) insert: u64,
}

/// All triples up to the result's end.
pub(crate) struct Steps<'a, B: BufRead> {
    control: Decoder<'a, B>,
    at: u64,
    len: u64,
    old: i64,
    idle: u64,
    taken: u64,
    budget: Option<StepBudget>,
}

/// Steps of a control stream that is kept, so that they can be gone through twice.
pub(crate) type HeldSteps = Steps<'static, Cursor<Arc<[u8]>>>;

impl<'a, B: BufRead> Steps<'a, B> {
    /// Of a control stream, taken from `budget`, if there is one.
    pub(super) fn new(head: &PatchHeader, control: Decoder<'a, B>, budget: Option<&StepBudget>) -> Self {
        Self {
            control,
            at: 0,
            len: head.result_len,
            old: 0,
            idle: 0,
            taken: 0,
            budget: budget.cloned(),
        }
    }

    fn count(&mut self) -> Result<(), PatchError> {
        let (limit, len) = (budget::steps(self.len), self.len);
        self.taken += 1;
        if self.taken > limit {
            return Err(PatchError::Steps { limit, len });
        }
        self.budget.as_ref().map_or(Ok(()), StepBudget::take)
    }

    /// The next one; none once the result is complete.
    pub(crate) fn next(&mut self) -> Result<Option<PatchStep>, PatchError> {
        if self.at == self.len {
            return Ok(None);
        }
        self.count()?;
        let mut triple = [0; 24];
        self.control.fill(&mut triple)?;
        let [add, insert, seek] = numbers(&triple);
        let (at, old) = (self.at, self.old);
        self.old = old
            .checked_add(add)
            .and_then(|old| old.checked_add(seek))
            .ok_or(PatchError::Seek { at })?;
        let (add, insert) = (self.yields(add)?, self.yields(insert)?);
        self.idle += u64::from(at == self.at);
        if self.idle > IDLE_STEPS {
            return Err(PatchError::Idle);
        }
        Ok(Some(PatchStep { at, old, add, insert }))
    }

    /// A count that fits what is left of the result, which is so much longer then.
    fn yields(&mut self, count: i64) -> Result<u64, PatchError> {
        let count = u64::try_from(count).map_err(|_| PatchError::NegativeCount { at: self.at })?;
        if count > self.len - self.at {
            return Err(PatchError::TooLong { len: self.len });
        }
        self.at += count;
        Ok(count)
    }
}
