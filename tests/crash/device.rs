//! The disk: what the medium holds, and what only the cache does.

use std::ops::Range;

use crate::loss::Loss;

pub(crate) struct Device {
    medium: Vec<u8>,
    sector: usize,
    unsynced: Vec<Write>,
}

struct Write {
    call: usize,
    /// The opening of the file through which it was made.
    opening: usize,
    at: usize,
    bytes: Vec<u8>,
    returned: bool,
}

impl Device {
    pub(crate) fn new(medium: Vec<u8>, sector: usize) -> Self {
        Self {
            medium,
            sector,
            unsynced: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, call: usize, opening: usize, at: usize, bytes: Vec<u8>) {
        assert!(
            at + bytes.len() <= self.medium.len(),
            "a write past the disk's end"
        );
        self.unsynced.push(Write {
            call,
            opening,
            at,
            bytes,
            returned: false,
        });
    }

    /// The call wrote so many bytes; none if it failed.
    pub(crate) fn returned(&mut self, call: usize, written: usize) {
        self.unsynced.retain(|write| write.call != call || written > 0);
        for write in self.unsynced.iter_mut().filter(|write| write.call == call) {
            write.bytes.truncate(written);
            write.returned = true;
        }
    }

    /// The writes that a sync through `opening`, beginning now, vouches for. Writes through other openings are
    /// not among them: on a real disk slots and table are different devices, each with a cache of its own.
    pub(crate) fn synced_by(&self, opening: usize) -> Vec<usize> {
        let covered = self
            .unsynced
            .iter()
            .filter(|write| write.opening == opening && write.returned);
        covered.map(|write| write.call).collect()
    }

    /// A sync has come back.
    pub(crate) fn sync(&mut self, calls: &[usize]) {
        for write in self.unsynced.extract_if(.., |write| calls.contains(&write.call)) {
            self.medium[write.at..write.at + write.bytes.len()].copy_from_slice(&write.bytes);
        }
    }

    pub(crate) fn after(&self, loss: &mut Loss) -> Vec<u8> {
        let mut medium = self.medium.clone();
        let mut writes: Vec<&Write> = self.unsynced.iter().collect();
        loss.arrange(&mut writes);
        for write in writes {
            for piece in pieces(write.at, write.bytes.len(), self.sector) {
                if loss.keeps(write.call) {
                    medium[write.at + piece.start..write.at + piece.end].copy_from_slice(&write.bytes[piece]);
                }
            }
        }
        medium
    }
}

/// The parts of a write of `len` bytes at `at` that lie in a sector each.
pub(crate) fn pieces(at: usize, len: usize, sector: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let end = len.min(start + sector - (at + start) % sector);
        let piece = start..end;
        start = end;
        (!piece.is_empty()).then_some(piece)
    })
}
