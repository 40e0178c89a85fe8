//! The second pass of a patch in pieces: bytes that are inserted, to where the first pass left
//! zeros.

use super::Fault;
use super::pieces::{Pieces, clamp};
use crate::bsdiff::{HeldSteps, PatchError, Stream};

/// Bytes of the result that are read and written again at once: whole blocks of any size.
const WINDOW: u64 = 1 << 20;

/// Fills the places that steps insert at.
pub(super) struct Filling {
    steps: HeldSteps,
    /// In the result.
    at: u64,
    /// Bytes of this step that are still to come.
    left: u64,
    window: Window,
}

impl Filling {
    pub(super) fn new(steps: HeldSteps, place: Pieces) -> Self {
        Self {
            steps,
            at: 0,
            left: 0,
            window: Window {
                place,
                start: 0,
                bytes: Vec::new(),
            },
        }
    }

    /// Goes on to where the next byte is wanted; false if nowhere.
    fn is_wanting(&mut self) -> Result<bool, Fault> {
        while self.left == 0 {
            let Some(step) = self.steps.next()? else {
                return Ok(false);
            };
            (self.at, self.left) = (step.at + step.add, step.insert);
        }
        Ok(true)
    }

    /// Takes bytes; whether more are wanted.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<bool, Fault> {
        while self.is_wanting()? {
            if bytes.is_empty() {
                return Ok(true);
            }
            let (now, rest) = bytes.split_at(clamp(self.left, bytes.len()));
            self.window.put(self.at, now)?;
            self.at += now.len() as u64;
            self.left -= now.len() as u64;
            bytes = rest;
        }
        Ok(false)
    }

    pub(super) fn finish(mut self) -> Result<(), Fault> {
        if self.is_wanting()? {
            return Err(PatchError::cut_off(Stream::Extra).into());
        }
        self.window.flush()
    }
}

/// Some of the result, read and not yet written again.
struct Window {
    place: Pieces,
    /// A multiple of [`WINDOW`].
    start: u64,
    /// Empty before the first.
    bytes: Vec<u8>,
}

impl Window {
    fn put(&mut self, mut at: u64, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let within = at.checked_sub(self.start);
            let within = within.and_then(|within| usize::try_from(within).ok());
            let room = within.and_then(|within| self.bytes.get_mut(within..));
            let Some(room) = room.filter(|room| !room.is_empty()) else {
                self.go_to(at)?;
                continue;
            };
            let (now, rest) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            at += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// To the window around `at`, which lies within the result.
    fn go_to(&mut self, at: u64) -> Result<(), Fault> {
        self.flush()?;
        self.start = at / WINDOW * WINDOW;
        let len = self.place.len().saturating_sub(self.start).min(WINDOW);
        if at - self.start >= len {
            return Err(Fault::TooLong(self.place.len()));
        }
        self.bytes.resize(clamp(len, usize::MAX), 0);
        self.place.read_at(&mut self.bytes, self.start)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.place.write_at(&self.bytes, self.start)
    }
}
