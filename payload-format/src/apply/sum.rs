//! The first pass of a patch in pieces.

use super::Fault;
use super::buffered_sink::BufferedSink;
use super::pieces::{Pieces, clamp};
use crate::bsdiff::{HeldSteps, Old, PatchError, Stream, add};

/// The result front to back: differences and the old image, zeros where bytes are to be inserted.
pub(super) struct Sum {
    steps: HeldSteps,
    source: Pieces,
    source_len: u64,
    output: BufferedSink,
    /// In the source.
    position: i64,
    /// Bytes of this step that are still to be added.
    add: u64,
    /// Bytes that this step inserts after them.
    insert: u64,
    /// What was read of the source.
    old: Vec<u8>,
}

impl Sum {
    /// Of a source, of which so many bytes count, to `output`.
    pub(super) fn new(steps: HeldSteps, (source, source_len): (Pieces, u64), output: BufferedSink) -> Self {
        Self {
            steps,
            source,
            source_len,
            output,
            position: 0,
            add: 0,
            insert: 0,
            old: Vec::new(),
        }
    }

    /// Goes on to where the next difference is wanted; false if nowhere.
    fn is_wanting(&mut self) -> Result<bool, Fault> {
        while self.add == 0 {
            self.output.zeros(std::mem::take(&mut self.insert))?;
            let Some(step) = self.steps.next()? else {
                return Ok(false);
            };
            (self.position, self.add, self.insert) = (step.old, step.add, step.insert);
        }
        Ok(true)
    }

    /// Takes differences; whether more are wanted.
    pub(super) fn take(&mut self, mut differences: &mut [u8]) -> Result<bool, Fault> {
        while self.is_wanting()? {
            if differences.is_empty() {
                return Ok(true);
            }
            let (now, rest) = differences.split_at_mut(clamp(self.add, differences.len()));
            self.old.resize(now.len(), 0);
            let source = Old {
                len: self.source_len,
                read: |buf: &mut [u8], offset| self.source.read_at(buf, offset),
            };
            source.read(&mut self.old, self.position)?;
            add(now, &self.old);
            self.output.write(now)?;
            self.add -= now.len() as u64;
            // The step's end is a position, by its check; so is all before it.
            self.position = self.position.saturating_add_unsigned(now.len() as u64);
            differences = rest;
        }
        Ok(false)
    }

    pub(super) fn finish(mut self) -> Result<(), Fault> {
        if self.is_wanting()? {
            return Err(PatchError::cut_off(Stream::Diff).into());
        }
        self.output.finish()
    }
}
