//! The header of a patch: how its parts are compressed, how long they and the result are.

use std::io::Cursor;
use std::sync::Arc;

use super::budget::StepBudget;
use super::decoder::Decoder;
use super::steps::{HeldSteps, Steps};
use super::unpacker::Unpacker;
use super::{Container, Packing, PatchError, Stream, numbers};

/// A header that holds together by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PatchHeader {
    pub(super) control: Packing,
    pub(super) diff: Packing,
    pub(super) extra: Packing,
    /// Of the control stream, in bytes.
    pub(super) control_len: u64,
    /// Of the diff stream, in bytes.
    pub(super) diff_len: u64,
    /// In bytes.
    pub(super) result_len: u64,
}

impl PatchHeader {
    /// Its length in bytes.
    pub(crate) const LEN: usize = 32;

    /// Reads the header that `bytes` begin with.
    pub(crate) fn parse(container: Container, bytes: &[u8]) -> Result<Self, PatchError> {
        let (packings, rest) = container.packings(bytes)?;
        let header = rest.first_chunk::<24>();
        let header = header.ok_or(PatchError::Header(container.name()))?;
        let [control_len, diff_len, result_len] = numbers(header);
        let len = |len: i64, stream| u64::try_from(len).map_err(|_| PatchError::StreamLength { stream });
        let [control, diff, extra] = packings;
        Ok(Self {
            control,
            diff,
            extra,
            control_len: len(control_len, Stream::Control)?,
            diff_len: len(diff_len, Stream::Diff)?,
            result_len: u64::try_from(result_len).map_err(|_| PatchError::NegativeResult)?,
        })
    }

    /// Length of the control stream in bytes, which follows the header.
    pub(crate) const fn control_len(&self) -> u64 {
        self.control_len
    }

    /// Length of the diff stream in bytes, which follows that; all else is the extra stream.
    pub(crate) const fn diff_len(&self) -> u64 {
        self.diff_len
    }

    /// What the control stream says, in steps that are taken from `budget`.
    pub(crate) fn steps(&self, control: Arc<[u8]>, budget: &StepBudget) -> Result<HeldSteps, PatchError> {
        let control = Decoder::new(Cursor::new(control), self.control, Stream::Control)?;
        Ok(Steps::new(self, control, Some(budget)))
    }

    /// For the diff stream.
    pub(crate) fn diff_unpacker(&self) -> Unpacker {
        Unpacker::new(self.diff, Stream::Diff)
    }

    /// For the extra stream.
    pub(crate) fn extra_unpacker(&self) -> Unpacker {
        Unpacker::new(self.extra, Stream::Extra)
    }

    /// Refuses a patch whose result has another length than the operation says.
    pub(crate) fn expect(&self, result_len: u64) -> Result<(), PatchError> {
        let (found, expected) = (self.result_len, result_len);
        (found == expected)
            .then_some(())
            .ok_or(PatchError::ResultLength { found, expected })
    }
}
