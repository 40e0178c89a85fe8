//! An old image that a content payload has patches for, and these, put together by choices of the
//! fuzzer.

use std::ops::Range;

use payload_format::Sha256Digest;

use super::content_draft::{BLOCK, zigzag};
use super::message::Message;
use super::patch::Steps;
use crate::input::Input;

/// Lists of numbers, which are fields 3 to 8: skips, counts, lengths of patches, sources of each, and
/// first bytes and lengths of these.
const LISTS: usize = 6;

/// What a payload says of an old image.
#[derive(Debug, Clone, Default)]
pub(crate) struct PredecessorDraft {
    content_len: u64,
    hash: Vec<u8>,
    lists: [Vec<u64>; LISTS],
    /// The patches, one after the other.
    pub(crate) data: Vec<u8>,
    /// The old image: blocks, in which no file system is found.
    pub(crate) old: Vec<u8>,
}

impl PredecessorDraft {
    /// Of an old image of up to four blocks, with patches that make some of these chunks.
    pub(crate) fn any(input: &mut Input<'_>, chunks: &[Vec<u8>], limits: [u64; 3]) -> Self {
        let len = (1 + input.below(4)) * BLOCK;
        let (old, common) = old_image(input, len, &chunks.concat());
        let (content_len, hash) = mark(&old, limits);
        let mut draft = Self {
            content_len,
            hash,
            old,
            ..Self::default()
        };
        let (mut next, mut end) = (0, 0);
        // All sources together may have eight times the content.
        let mut room = 8 * chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        while next < chunks.len() && draft.lists[0].len() < 8 {
            let skip = input.below(3);
            let first = next + skip;
            let count = (1 + input.below(3)).min(chunks.len().saturating_sub(first));
            if count == 0 {
                break;
            }
            let made = chunks[first..first + count].concat();
            let (mut sources, mut source, mut similar) = (0, Vec::new(), None);
            let begin: usize = chunks[..first].iter().map(Vec::len).sum();
            for _ in 0..input.below(3) {
                // Mostly all of it: what has gone into the new content is there then.
                let (start, len) = if input.is_odd() {
                    let start = u64::from(input.short()) % content_len.max(1);
                    (start, 1 + u64::from(input.short()) % (content_len - start).max(1))
                } else {
                    (0, content_len.max(1))
                };
                if len > room.min(content_len) {
                    break;
                }
                let place = |place: u64| usize::try_from(place).expect("within four blocks");
                let range = place(start)..place(start + len);
                similar = similar.or_else(|| common.shift(begin, (source.len(), &range)));
                source.extend_from_slice(&draft.old[range]);
                draft.lists[4].push(zigzag(start.cast_signed() - end));
                draft.lists[5].push(len);
                end = (start + len).cast_signed();
                (sources, room) = (sources + 1, room - len);
            }
            let patch = patch(input, &made, (&source, similar));
            let numbers = [skip, count, patch.len(), sources];
            for (list, number) in draft.lists.iter_mut().zip(numbers) {
                list.push(number as u64);
            }
            draft.data.extend(patch);
            next = first + count;
        }
        draft
    }

    /// Changes something of the tables, or a byte of the patches or of the old image.
    pub(crate) fn damage(&mut self, input: &mut Input<'_>, number: u64, at: usize) {
        let what = input.below(LISTS + 4);
        let flip = |bytes: &mut Vec<u8>| {
            let len = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at % len) {
                *byte ^= 0x55;
            }
        };
        match (self.lists.get_mut(what), what - what.min(LISTS)) {
            (Some(list), _) if list.is_empty() => list.push(number),
            (Some(list), _) => {
                let len = list.len();
                list[at % len] = number;
            }
            (None, 0) => self.content_len = number,
            (None, 1) => self.hash.truncate(at % 40),
            (None, 2) => flip(&mut self.data),
            (None, _) => flip(&mut self.old),
        }
    }

    /// As it stands in the tables.
    pub(crate) fn message(&self) -> Vec<u8> {
        let message = Message::default()
            .number(1, self.content_len)
            .bytes(2, &self.hash);
        let message = (3..).zip(&self.lists).fold(message, |message, (field, list)| {
            let list = list
                .iter()
                .fold(Message::default(), |list, &number| list.varint(number));
            message.bytes(field, &list.0)
        });
        message.0
    }
}

/// Bytes that an old image and the new content have in common.
struct CommonBytes {
    /// Where they begin in the content, and in the old image.
    from: usize,
    at: usize,
    len: usize,
}

impl CommonBytes {
    /// How far what is in common lies behind its place among the bytes of a section, which begin at
    /// `begin` of the content: in its sources, of which this range of the old image stands at `place`.
    fn shift(&self, begin: usize, (place, range): (usize, &Range<usize>)) -> Option<i64> {
        let signed = |number: usize| i64::try_from(number).expect("small");
        let is_there = range.contains(&self.at) && self.len > 0 && self.from + self.len > begin;
        let in_source = signed(place + self.at) - signed(range.start);
        is_there.then(|| in_source - (signed(self.from) - signed(begin)))
    }
}

/// Blocks that are not zeros, with something of the new content.
fn old_image(input: &mut Input<'_>, len: usize, content: &[u8]) -> (Vec<u8>, CommonBytes) {
    let mut old = input.pattern(len);
    let from = usize::from(input.short()) % (content.len() + 1);
    let at = input.below(len);
    let common = usize::from(input.short()).min(content.len() - from).min(len - at);
    old[at..at + common].copy_from_slice(&content[from..from + common]);
    old.iter_mut().step_by(BLOCK).for_each(|byte| *byte |= 1);
    (
        old,
        CommonBytes {
            from,
            at,
            len: common,
        },
    )
}

/// What makes these bytes of a section's sources: a patch of any right steps and packings, or the bytes
/// where that is no shorter. What is similar to them lies so far behind their place.
fn patch(input: &mut Input<'_>, made: &[u8], (source, similar): (&[u8], Option<i64>)) -> Vec<u8> {
    const STEPS: usize = 6;
    let signed = |number: usize| i64::try_from(number).expect("small");
    let (mut steps, mut at, mut place) = (Steps::default(), 0, 0_i64);
    let packings = [(); 3].map(|()| input.byte() % 3);
    while at < made.len() {
        let left = made.len() - at;
        let (add, insert) = match steps.triples.len() {
            STEPS.. => (left, 0),
            0 => (0, 0),
            _ => {
                let add = usize::from(input.short()) % (left + 1);
                (add, usize::from(input.short()) % (left - add + 1))
            }
        };
        for (byte, from) in made[at..at + add].iter().zip(place..) {
            let from = usize::try_from(from).ok().and_then(|from| source.get(from));
            steps.diff.push(byte.wrapping_sub(from.copied().unwrap_or(0)));
        }
        steps.extra.extend_from_slice(&made[at + add..][..insert]);
        at += add + insert;
        place += signed(add);
        let next = match similar {
            Some(shift) if !input.is_odd() => shift + signed(at),
            _ => i64::from(input.short().cast_signed()),
        };
        steps.triples.push([signed(add), signed(insert), next - place]);
        place = next;
    }
    let patch = steps.patch(true, packings, made.len());
    if patch.len() < made.len() {
        patch
    } else {
        made.to_vec()
    }
}

/// Bytes of all chunks of a content but the last, and the hash of their hashes; by the documented rule,
/// byte by byte.
fn mark(content: &[u8], [min, mask_bits, max]: [u64; 3]) -> (u64, Vec<u8>) {
    let gear = |byte: u8| {
        let digest = Sha256Digest::of(&[byte]);
        digest.as_bytes()[..8]
            .iter()
            .rev()
            .fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
    };
    let (mut start, mut hash, mut hashes) = (0, 0_u64, Vec::new());
    // The last chunk ends with the content: it is left out.
    for (at, byte) in content.iter().enumerate().take(content.len() - 1) {
        hash = hash.wrapping_mul(2).wrapping_add(gear(*byte));
        let len = (at + 1 - start) as u64;
        if len == max || (len >= min && hash >> (64 - mask_bits) == 0) {
            hashes.extend_from_slice(&Sha256Digest::of(&content[start..=at]).as_bytes()[..16]);
            (start, hash) = (at + 1, 0);
        }
    }
    (start as u64, Sha256Digest::of(&hashes).as_bytes().to_vec())
}
