//! Patches of any kind, come whole or in pieces: the same image, or a refusal.

use std::sync::Arc;

use payload_format::{ApplyError, Event, OpId, Reader, Sha256Digest};
use proptest::prelude::*;

use super::{BLOCKS, LEN, Site, limits, old_image};
use crate::handmade::BLOCK;
use crate::memory::Memory;
use crate::version2::made::{self, Operation, Payload};

/// What becomes of a slot when operations of up to `whole_data` bytes of data come whole.
fn outcome(payload: &[u8], whole_data: u64, chunk: usize) -> Result<Vec<u8>, ApplyError> {
    let slot = Memory::garbage(LEN);
    written(&slot, payload, whole_data, chunk)?;
    Ok(slot.bytes())
}

/// Writes to a slot whatever the payload's bytes, perhaps not all of them, bring about.
fn written(slot: &Arc<Memory>, payload: &[u8], whole_data: u64, chunk: usize) -> Result<(), ApplyError> {
    let mut site = Site::new(Arc::clone(slot));
    let mut reader = Reader::new(limits(whole_data));
    for piece in payload.chunks(chunk) {
        let mut input = piece;
        while let Some(event) = reader.read(&mut input).unwrap() {
            take(&mut site, event)?;
        }
    }
    Ok(())
}

fn take(site: &mut Site, event: Event) -> Result<(), ApplyError> {
    match event {
        Event::Operation { op, data } => site.applier.as_ref().unwrap().apply(op, &data),
        Event::Piece { op, data } => {
            if site.streamed.is_none() {
                site.streamed = Some(site.applier.as_ref().unwrap().stream(op)?);
            }
            site.streamed.as_mut().unwrap().write(&data)
        }
        Event::PiecesVerified { .. } => site.streamed.take().unwrap().finish(),
        Event::Content { .. } => unreachable!("there are operations alone"),
        metadata @ Event::Metadata { .. } => {
            site.event(metadata);
            Ok(())
        }
    }
}

/// Steps of a patch, of which each wants what it says.
#[derive(Debug, Clone)]
struct Steps(Vec<[i64; 3]>);

impl Steps {
    fn sum(&self, which: usize) -> usize {
        let sum: i64 = self.0.iter().map(|step| step[which]).sum();
        usize::try_from(sum).unwrap()
    }

    fn len(&self) -> usize {
        self.sum(0) + self.sum(1)
    }
}

/// Steps that make `len` bytes.
fn steps(len: i64) -> impl Strategy<Value = Steps> {
    let step = (0..len / 2, 0..len / 2, -len..len);
    prop::collection::vec(step, 0..12).prop_map(move |steps| {
        let mut left = len;
        let mut cut = |count: i64| {
            let count = count.min(left);
            left -= count;
            count
        };
        let mut steps: Vec<[i64; 3]> = steps.into_iter().map(|(a, b, c)| [cut(a), cut(b), c]).collect();
        steps.push([0, left, 0]);
        Steps(steps)
    })
}

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 31 + usize::from(seed)).to_le_bytes()[0])
        .collect()
}

/// The patch, and how much of its extra stream is cut off.
fn patch(steps: &Steps, packings: [u8; 3], seed: u8, cut: usize) -> Vec<u8> {
    let number = |value: i64| (value.unsigned_abs() | if value < 0 { 1 << 63 } else { 0 }).to_le_bytes();
    let control: Vec<u8> = steps
        .0
        .iter()
        .flatten()
        .flat_map(|value| number(*value))
        .collect();
    let control = made::pack(&control, packings[0]);
    let diff = made::pack(&bytes(steps.sum(0), seed), packings[1]);
    let mut extra = made::pack(&bytes(steps.sum(1), !seed), packings[2]);
    extra.truncate(extra.len().saturating_sub(cut));
    let lengths = [control.len(), diff.len(), steps.len()].map(|len| (len as u64).to_le_bytes());
    let magic = [b"BSDF2", &packings[..]].concat();
    [magic, lengths.concat(), control, diff, extra].concat()
}

/// A delta whose only operation is a patch, to all blocks in any order.
fn payload(data: Vec<u8>, order: &[u64]) -> Payload {
    let operation = Operation {
        number: made::BROTLI_BSDIFF,
        data,
        source: vec![(3, BLOCKS - 3), (0, 3)],
        destination: order.iter().map(|block| (*block, 1)).collect(),
        ..Operation::default()
    };
    // Only its length counts here.
    let new = vec![0; usize::try_from(LEN).unwrap()];
    Payload::new(vec![operation], Some(old_image()), new)
}

fn order() -> impl Strategy<Value = Vec<u64>> {
    Just((0..BLOCKS).collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn in_pieces_they_make_the_same_image(
        steps in (LEN - BLOCK + 1..=LEN).prop_flat_map(|len| steps(i64::try_from(len).unwrap())),
        packings in prop::array::uniform3(0_u8..3),
        seed in any::<u8>(),
        order in order(),
        chunk in prop_oneof![1_usize..50, 50_usize..5000],
    ) {
        let mut payload = payload(patch(&steps, packings, seed, 0), &order);
        payload.operations[0].result_len = Some(steps.len() as u64);
        let bytes = payload.unsigned();
        let whole = outcome(&bytes, 1 << 20, chunk).unwrap();
        prop_assert_eq!(outcome(&bytes, 0, chunk).unwrap(), whole);
    }

    #[test]
    fn cut_off_anywhere_and_begun_again_they_make_the_same_image(
        steps in steps(i64::try_from(LEN).unwrap()),
        packings in prop::array::uniform3(0_u8..3),
        cut in any::<prop::sample::Index>(),
        order in order(),
    ) {
        let bytes = payload(patch(&steps, packings, 5, 0), &order).unsigned();
        let slot = Memory::garbage(LEN);
        written(&slot, &bytes[..cut.index(bytes.len())], 0, 300).unwrap();
        written(&slot, &bytes, 0, 300).unwrap();
        prop_assert_eq!(slot.bytes(), outcome(&bytes, 1 << 20, 300).unwrap());
    }

    #[test]
    fn damaged_ones_that_are_taken_in_pieces_make_what_they_make_whole(
        steps in steps(i64::try_from(LEN).unwrap()),
        packings in prop::array::uniform3(0_u8..3),
        (at, flip) in (any::<prop::sample::Index>(), any::<u8>()),
        cut in 0_usize..4,
        order in order(),
    ) {
        let mut patch = patch(&steps, packings, 7, cut);
        let at = at.index(patch.len());
        patch[at] ^= flip;
        let bytes = payload(patch, &order).unsigned();
        // In pieces bytes are handed on before their block's checksum was compared, and nobody reads on once there are enough.
        // The hash of the operation's data stands before both.
        match (outcome(&bytes, 0, 700), outcome(&bytes, 1 << 20, 700)) {
            (Ok(in_pieces), Ok(whole)) => prop_assert_eq!(whole, in_pieces),
            (Ok(_), Err(error)) => prop_assert!(format!("{error:?}").contains("Crc"), "{:?}", error),
            (Err(_), _) => {}
        }
    }
}

#[test]
fn one_that_ends_early_is_refused_wherever_it_ends() {
    let steps = Steps(vec![[4000, 2000, -9000], [3000, 3288, 0]]);
    assert_eq!(steps.len() as u64, LEN);
    let order: Vec<u64> = (0..BLOCKS).collect();
    let patch = patch(&steps, [0, 0, 0], 1, 0);
    for len in [1, 31, 32, 40, 79, 80, 4079, 7079, 7080, 9000, patch.len() - 1] {
        let bytes = payload(patch[..len].to_vec(), &order).unsigned();
        let error = outcome(&bytes, 0, 512).unwrap_err();
        let fault = error.fault().unwrap().to_string();
        assert_eq!(fault, "its patch can't be applied", "{len}");
    }
    let bytes = payload(patch, &order).unsigned();
    outcome(&bytes, 0, 512).unwrap();
}

#[test]
fn a_control_stream_that_is_too_long_to_be_held_is_refused_when_it_is_announced() {
    let mut patch = patch(&Steps(vec![[0, i64::try_from(LEN).unwrap(), 0]]), [0; 3], 1, 0);
    patch[8..16].copy_from_slice(&(17_u64 << 20).to_le_bytes());
    let bytes = payload(patch, &(0..BLOCKS).collect::<Vec<_>>()).unsigned();
    let error = outcome(&bytes, 0, 4096).unwrap_err();
    let source = std::error::Error::source(error.fault().unwrap()).unwrap();
    assert_eq!(
        source.to_string(),
        "its control stream has 17825792 bytes; at most 16777216 are held in memory"
    );
}

#[test]
fn of_a_wrong_source_nothing_is_written_before_the_first_piece() {
    let steps = Steps(vec![[i64::try_from(LEN).unwrap(), 0, 0]]);
    let mut payload = payload(patch(&steps, [1, 2, 0], 3, 0), &(0..BLOCKS).collect::<Vec<_>>());
    payload.operations[0].source_sha256 = Some(Sha256Digest::of(b"another source"));
    let bytes = payload.unsigned();
    let mut site = Site::new(Memory::garbage(LEN));
    let event = Reader::new(limits(0)).read(&mut &bytes[..]).unwrap();
    site.event(event.unwrap());
    let applier = site.applier.as_ref().unwrap();
    let error = applier.stream(OpId::FIRST).err().unwrap();
    let fault = error.fault().unwrap().to_string();
    assert!(fault.starts_with("its source has SHA-256"), "{fault}");
    assert_eq!(site.slot.bytes(), Memory::garbage(LEN).bytes());
}
