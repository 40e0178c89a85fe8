//! The control stream: what to add to which bytes of the old file, and what to insert.

use std::io::{BufRead, Cursor};
use std::sync::Arc;

use super::decoder::Decoder;
use super::{Head, PatchError, Stream, numbers};

/// Triples that yield nothing and are followed all the same. `bsdiff` makes next to none, an attacker millions.
const IDLE_TRIPLES: u64 = 1024;

/// One triple, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
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
pub(crate) struct Steps<B: BufRead> {
    control: Decoder<B>,
    at: u64,
    len: u64,
    old: i64,
    idle: u64,
}

/// Steps of a control stream that is kept, so that they can be gone through twice.
pub(crate) type HeldSteps = Steps<Cursor<Arc<[u8]>>>;

impl<B: BufRead> Steps<B> {
    /// Of a control stream.
    pub(super) fn new(head: &Head, control: B) -> Result<Self, PatchError> {
        Ok(Self {
            control: Decoder::new(control, head.control, Stream::Control)?,
            at: 0,
            len: head.result_len,
            old: 0,
            idle: 0,
        })
    }

    /// The next one; none once the result is complete.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, PatchError> {
        if self.at == self.len {
            return Ok(None);
        }
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
        if self.idle > IDLE_TRIPLES {
            return Err(PatchError::Idle);
        }
        Ok(Some(Step { at, old, add, insert }))
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
