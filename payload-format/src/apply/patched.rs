//! Patches that are too large to be held in memory: in pieces, and in two passes over the result.
//!
//! ```text
//!  control ──held──▶ steps ─┬─▶ as diff comes:  the result front to back, zeros where bytes are to be inserted
//!                           └─▶ as extra comes: those places, a window at a time: read, filled, written again
//! ```
//!
//! So neither diff nor extra is ever held, however long they are. What is inserted is written
//! twice; generators that know whom they write for make patches of a few megabytes, which come
//! whole. As with all data that comes in pieces its hash is known at the end.

use std::sync::Arc;

use super::Fault;
use super::buffered_sink::BufferedSink;
use super::filling::Filling;
use super::pieces::Pieces;
use super::pieces::clamp;
use super::sum::Sum;
use crate::bsdiff::{Container, PatchError, PatchHeader, StepBudget, Stream, Unpacker};

/// Bytes unpacked at a time.
const BUFFER: usize = 64 << 10;

/// Bytes of a control stream that are held, compressed: as many as of any data that is.
const CONTROL: u64 = 16 << 20;

/// What the patch is applied to, and what must come of it.
pub(super) struct Patchwork {
    pub(super) container: Container,
    /// Checked to be the right one.
    pub(super) source: Pieces,
    /// Bytes of it that count.
    pub(super) source_len: u64,
    pub(super) result_len: u64,
    /// Where the result goes, front to back.
    pub(super) output: BufferedSink,
    /// Where the result goes, anywhere.
    pub(super) place: Pieces,
    /// What its steps are taken from.
    pub(super) budget: StepBudget,
}

/// A patch at work, as far as it came.
pub(super) struct Patched {
    stage: Stage,
    buffer: Vec<u8>,
}

enum Stage {
    /// Header and control stream are being gathered.
    Beginning(Vec<u8>, Box<Patchwork>),
    Adding(Box<Adding>),
    Inserting(Unpacker, Box<Filling>),
    /// A step failed: nothing more comes of it.
    Failed,
}

impl Patched {
    pub(super) fn new(work: Patchwork) -> Self {
        Self {
            stage: Stage::Beginning(Vec::new(), Box::new(work)),
            buffer: vec![0; BUFFER],
        }
    }

    pub(super) fn write(&mut self, mut piece: &[u8]) -> Result<(), Fault> {
        while !piece.is_empty() {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Failed) {
                Stage::Beginning(bytes, work) => begin(bytes, work, &mut piece)?,
                Stage::Adding(adding) => adding.take(&mut piece, &mut self.buffer)?,
                Stage::Inserting(unpacker, filling) => {
                    insert((unpacker, filling), &mut piece, &mut self.buffer)?
                }
                // The caller has been told why.
                Stage::Failed => return Err(PatchError::cut_off(Stream::Control).into()),
            };
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), Fault> {
        match self.stage {
            Stage::Inserting(_, filling) => filling.finish(),
            Stage::Adding(adding) if adding.left == 0 => match adding.turn()? {
                Stage::Inserting(_, filling) => filling.finish(),
                _ => Ok(()),
            },
            Stage::Adding(_) => Err(PatchError::cut_off(Stream::Diff).into()),
            Stage::Beginning(..) | Stage::Failed => Err(PatchError::cut_off(Stream::Control).into()),
        }
    }
}

/// Moves bytes until `bytes` has `len` of them; tells whether it does.
fn gather(bytes: &mut Vec<u8>, len: u64, piece: &mut &[u8]) -> bool {
    let missing = len.saturating_sub(bytes.len() as u64);
    let (now, rest) = piece.split_at(clamp(missing, piece.len()));
    bytes.extend_from_slice(now);
    *piece = rest;
    bytes.len() as u64 >= len
}

/// Gathers header and control stream.
fn begin(mut bytes: Vec<u8>, work: Box<Patchwork>, piece: &mut &[u8]) -> Result<Stage, Fault> {
    if !gather(&mut bytes, PatchHeader::LEN as u64, piece) {
        return Ok(Stage::Beginning(bytes, work));
    }
    let head = PatchHeader::parse(work.container, &bytes)?;
    head.expect(work.result_len)?;
    let len = head.control_len();
    if len > CONTROL {
        return Err(PatchError::ControlLength { len, limit: CONTROL }.into());
    }
    if !gather(&mut bytes, PatchHeader::LEN as u64 + len, piece) {
        return Ok(Stage::Beginning(bytes, work));
    }
    let control = bytes.get(PatchHeader::LEN..).unwrap_or_default();
    let adding = Adding::new(head, Arc::from(control), *work)?;
    Ok(Stage::Adding(Box::new(adding)))
}

/// Hands what `unpacker` makes of the piece to the places where it is inserted.
fn insert(
    (mut unpacker, mut filling): (Unpacker, Box<Filling>),
    piece: &mut &[u8],
    buffer: &mut [u8],
) -> Result<Stage, Fault> {
    unpack(&mut unpacker, std::mem::take(piece), buffer, |bytes| {
        filling.take(bytes)
    })?;
    Ok(Stage::Inserting(unpacker, filling))
}

/// Unpacks all of `input`, unless nobody wants more.
fn unpack(
    unpacker: &mut Unpacker,
    mut input: &[u8],
    buffer: &mut [u8],
    mut take: impl FnMut(&mut [u8]) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    loop {
        let step = unpacker.step(input, buffer)?;
        input = input.get(step.taken..).unwrap_or_default();
        let wanted = take(&mut buffer[..step.filled])?;
        if !wanted || (step.taken, step.filled) == (0, 0) {
            return Ok(());
        }
    }
}

/// The first pass.
struct Adding {
    head: PatchHeader,
    control: Arc<[u8]>,
    unpacker: Unpacker,
    /// Bytes of the diff stream that are still to come.
    left: u64,
    sum: Sum,
    place: Pieces,
    budget: StepBudget,
}

impl Adding {
    fn new(head: PatchHeader, control: Arc<[u8]>, work: Patchwork) -> Result<Self, Fault> {
        Ok(Self {
            head,
            unpacker: head.diff_unpacker(),
            left: head.diff_len(),
            sum: Sum::new(
                head.steps(Arc::clone(&control), &work.budget)?,
                (work.source, work.source_len),
                work.output,
            ),
            control,
            place: work.place,
            budget: work.budget,
        })
    }

    /// Takes what belongs to the diff stream.
    fn take(mut self: Box<Self>, piece: &mut &[u8], buffer: &mut [u8]) -> Result<Stage, Fault> {
        let (now, rest) = piece.split_at(clamp(self.left, piece.len()));
        *piece = rest;
        self.left -= now.len() as u64;
        let sum = &mut self.sum;
        unpack(&mut self.unpacker, now, buffer, |bytes| sum.take(bytes))?;
        if self.left == 0 {
            self.turn()
        } else {
            Ok(Stage::Adding(self))
        }
    }

    /// To the second pass.
    fn turn(self) -> Result<Stage, Fault> {
        self.sum.finish()?;
        let filling = Filling::new(self.head.steps(self.control, &self.budget)?, self.place);
        Ok(Stage::Inserting(self.head.extra_unpacker(), Box::new(filling)))
    }
}
