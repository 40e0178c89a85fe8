//! A patch at work: three streams in, the result out.

use super::decoder::Decoder;
use super::old::{Old, add};
use super::steps::{PatchStep, Steps};
use super::{Patch, PatchError, Stream, budget};

/// Bytes of a triple.
const TRIPLE: u64 = 24;

/// Bytes added or inserted at a time.
const BUFFER: usize = 64 << 10;

/// A patch at work.
pub(super) struct Patching<'a, R, W> {
    steps: Steps<'a, &'a [u8]>,
    diff: Decoder<'a, &'a [u8]>,
    extra: Decoder<'a, &'a [u8]>,
    old: Old<R>,
    write: W,
    buffer: Vec<u8>,
    old_buffer: Vec<u8>,
}

impl<'a, R, W> Patching<'a, R, W> {
    pub(super) fn new(patch: &Patch<'a>, old_len: u64, read: R, write: W) -> Result<Self, PatchError> {
        let (head, made) = (&patch.head, patch.head.result_len);
        let triples = budget::steps(made).saturating_mul(TRIPLE);
        let control = Decoder::lent(patch.control, head.control, Stream::Control, triples)?;
        Ok(Self {
            steps: Steps::new(head, control, patch.budget),
            diff: Decoder::lent(patch.diff, head.diff, Stream::Diff, made)?,
            extra: Decoder::lent(patch.extra, head.extra, Stream::Extra, made)?,
            old: Old { len: old_len, read },
            write,
            buffer: vec![0; BUFFER],
            old_buffer: vec![0; BUFFER],
        })
    }

    /// Makes the whole result.
    pub(super) fn run<E>(&mut self) -> Result<(), E>
    where
        R: Fn(&mut [u8], u64) -> Result<(), E>,
        W: FnMut(&[u8]) -> Result<(), E>,
        E: From<PatchError>,
    {
        while let Some(step) = self.steps.next()? {
            self.add(&step)?;
            self.insert(step.insert)?;
        }
        Ok(())
    }

    fn add<E>(&mut self, step: &PatchStep) -> Result<(), E>
    where
        R: Fn(&mut [u8], u64) -> Result<(), E>,
        W: FnMut(&[u8]) -> Result<(), E>,
        E: From<PatchError>,
    {
        let (mut count, mut position) = (step.add, step.old);
        while count > 0 {
            let now = piece(count);
            let (result, old) = (&mut self.buffer[..now], &mut self.old_buffer[..now]);
            self.diff.fill(result)?;
            self.old.read(old, position)?;
            add(result, old);
            (self.write)(result)?;
            // The step's end is a position, by its check; so is all before it.
            position = position.saturating_add_unsigned(now as u64);
            count -= now as u64;
        }
        Ok(())
    }

    fn insert<E>(&mut self, mut count: u64) -> Result<(), E>
    where
        W: FnMut(&[u8]) -> Result<(), E>,
        E: From<PatchError>,
    {
        while count > 0 {
            let result = &mut self.buffer[..piece(count)];
            self.extra.fill(result)?;
            (self.write)(result)?;
            count -= result.len() as u64;
        }
        Ok(())
    }
}

fn piece(count: u64) -> usize {
    usize::try_from(count).map_or(BUFFER, |count| count.min(BUFFER))
}
