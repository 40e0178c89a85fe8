//! The disk: what the medium holds, and what only the cache does.

use std::collections::BTreeMap;
use std::ops::Range;

use ring::digest::{Context, SHA256};

use crate::loss::Loss;

/// What a cut leaves is told by pages of so many bytes.
const PAGE: usize = 4096;

pub(crate) struct Device {
    medium: Vec<u8>,
    fingerprint: Fingerprint,
    sector: usize,
    unsynced: Vec<Write>,
}

/// Stands for all bytes of a disk: those of the same bytes are equal, and of others not. A sum over
/// pages, so that changing one costs no more than that page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(u128);

/// What a cut leaves on the disk: pages that differ from the medium's.
pub(crate) struct Survived {
    pages: BTreeMap<usize, Vec<u8>>,
    pub(crate) fingerprint: Fingerprint,
}

impl Fingerprint {
    fn of(bytes: &[u8]) -> Self {
        let pages = bytes.chunks(PAGE).enumerate();
        pages.fold(Self(0), |sum, (page, bytes)| sum.with(page, bytes))
    }

    fn with(self, page: usize, bytes: &[u8]) -> Self {
        Self(self.0.wrapping_add(number(page, bytes)))
    }

    fn without(self, page: usize, bytes: &[u8]) -> Self {
        Self(self.0.wrapping_sub(number(page, bytes)))
    }
}

fn number(page: usize, bytes: &[u8]) -> u128 {
    let mut context = Context::new(&SHA256);
    context.update(&page.to_le_bytes());
    context.update(bytes);
    u128::from_le_bytes(context.finish().as_ref()[..16].try_into().unwrap())
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
            fingerprint: Fingerprint::of(&medium),
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

    /// The writes that a sync through `opening`, beginning now, vouches for. Writes through other
    /// openings are not among them: on a real disk slots and table are different devices, each with
    /// a cache of its own.
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
            for page in pages(write.at, write.bytes.len()) {
                self.fingerprint = self.fingerprint.without(page, page_of(&self.medium, page));
            }
            self.medium[write.at..write.at + write.bytes.len()].copy_from_slice(&write.bytes);
            for page in pages(write.at, write.bytes.len()) {
                self.fingerprint = self.fingerprint.with(page, page_of(&self.medium, page));
            }
        }
    }

    pub(crate) fn after(&self, loss: &mut Loss) -> Survived {
        let mut pages: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut writes: Vec<&Write> = self.unsynced.iter().collect();
        loss.arrange(&mut writes);
        for write in writes {
            for piece in pieces(write.at, write.bytes.len(), self.sector) {
                // A sector never lies in two pages.
                let (at, bytes) = (write.at + piece.start, &write.bytes[piece]);
                if loss.keeps(write.call) {
                    let page = pages.entry(at / PAGE);
                    let page = page.or_insert_with(|| page_of(&self.medium, at / PAGE).to_vec());
                    page[at % PAGE..][..bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        let changed = pages.iter().fold(self.fingerprint, |sum, (page, bytes)| {
            sum.without(*page, page_of(&self.medium, *page))
                .with(*page, bytes)
        });
        Survived {
            pages,
            fingerprint: changed,
        }
    }

    /// All bytes of the disk that a cut leaves.
    pub(crate) fn whole(&self, survived: &Survived) -> Vec<u8> {
        let mut disk = self.medium.clone();
        for (page, bytes) in &survived.pages {
            disk[page * PAGE..][..bytes.len()].copy_from_slice(bytes);
        }
        disk
    }
}

fn page_of(medium: &[u8], page: usize) -> &[u8] {
    &medium[page * PAGE..medium.len().min((page + 1) * PAGE)]
}

/// The pages in which `len` bytes at `at` lie.
fn pages(at: usize, len: usize) -> Range<usize> {
    at / PAGE..(at + len).div_ceil(PAGE)
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
