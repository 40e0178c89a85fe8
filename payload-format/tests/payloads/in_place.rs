//! Without a copy of the old image, the result is that of running every operation on one: in order, in any
//! order that the plan allows, and after cuts.

use std::collections::BTreeSet;
use std::sync::Arc;

use payload_format::{Applier, Event, ImageKind, Limits, Manifest, OpId, ReadBlocks, Reader, Replay};
use proptest::prelude::*;

use crate::handmade::{self, BLOCK, Extent, HOLE, Kind, Operation};
use crate::memory::Memory;

const BLOCKS: u64 = 10;
const LEN: u64 = BLOCKS * BLOCK;

fn any_extent() -> impl Strategy<Value = Extent> {
    prop_oneof![
        9 => (0..BLOCKS, 1..4_u64).prop_map(|(start, count)| (start, count.min(BLOCKS - start))),
        1 => (Just(HOLE), 1..3_u64),
    ]
}

/// Two lists of extents with the same number of blocks, at most all there are.
fn pair() -> impl Strategy<Value = (Vec<Extent>, Vec<Extent>)> {
    let list = || prop::collection::vec(any_extent(), 1..4);
    (list(), list()).prop_map(|(a, b)| {
        let count = blocks(&a).min(blocks(&b)).min(BLOCKS);
        (cut(a, count), cut(b, count))
    })
}

fn blocks(extents: &[Extent]) -> u64 {
    extents.iter().map(|(_, count)| count).sum()
}

fn cut(extents: Vec<Extent>, mut left: u64) -> Vec<Extent> {
    let cut = extents.into_iter().map(|(start, count)| {
        let count = count.min(left);
        left -= count;
        (start, count)
    });
    cut.filter(|(_, count)| *count > 0).collect()
}

fn operation() -> impl Strategy<Value = Operation> {
    (pair(), any::<u8>(), 0..4).prop_map(|((source, destination), byte, kind)| {
        let len = blocks(&destination) * BLOCK;
        let content = vec![byte; usize::try_from(len).unwrap()];
        let kind = match kind {
            0 => Kind::Replace(content),
            1 => Kind::ReplaceBz(handmade::bzip2(&content)),
            2 => Kind::Move(source),
            _ => Kind::Bsdiff {
                source,
                source_len: len,
                result_len: len,
                patch: handmade::patch(len, byte),
            },
        };
        Operation { kind, destination }
    })
}

fn old_image() -> Vec<u8> {
    (0..LEN)
        .map(|at| (at / BLOCK * 16 + at % 7).to_le_bytes()[0])
        .collect()
}

/// The rule as it is told: on a copy of the old image, each operation reads all, then writes.
fn on_a_copy(operations: &[Operation]) -> Vec<u8> {
    let mut image = old_image();
    for operation in operations {
        let destination = &operation.destination;
        let len = usize::try_from(blocks(destination) * BLOCK).unwrap();
        let result = match &operation.kind {
            Kind::Replace(data) => data.clone(),
            Kind::ReplaceBz(_) => vec![operation_byte(operation); len],
            Kind::Move(source) => gather(&image, source),
            Kind::Bsdiff { source, .. } => {
                let added = operation_byte(operation);
                gather(&image, source)
                    .iter()
                    .map(|byte| byte.wrapping_add(added))
                    .collect()
            }
        };
        let mut result = &result[..];
        for (start, count) in destination {
            let (now, later) = result.split_at(usize::try_from(count * BLOCK).unwrap());
            if *start != HOLE {
                let at = usize::try_from(start * BLOCK).unwrap();
                image[at..at + now.len()].copy_from_slice(now);
            }
            result = later;
        }
    }
    image
}

fn gather(image: &[u8], source: &[Extent]) -> Vec<u8> {
    let piece = |(start, count): &Extent| {
        let len = usize::try_from(count * BLOCK).unwrap();
        if *start == HOLE {
            return vec![0; len];
        }
        let at = usize::try_from(start * BLOCK).unwrap();
        image[at..at + len].to_vec()
    };
    source.iter().flat_map(piece).collect()
}

/// The byte that a generated operation fills with or adds, read back by `bzip2`'s own decoder.
fn operation_byte(operation: &Operation) -> u8 {
    use std::io::Read;
    let compressed = match &operation.kind {
        Kind::ReplaceBz(data) => &data[..],
        Kind::Bsdiff { patch, .. } => {
            let control = u64::from_le_bytes(patch[8..16].try_into().unwrap());
            &patch[32 + usize::try_from(control).unwrap()..]
        }
        _ => panic!("it is not compressed"),
    };
    let mut byte = [0];
    bzip2::bufread::BzDecoder::new(compressed)
        .read_exact(&mut byte)
        .unwrap();
    byte[0]
}

/// A payload being applied to a slot that holds garbage.
struct Update {
    manifest: Arc<Manifest>,
    data: Vec<Vec<u8>>,
    slot: Arc<Memory>,
    applier: Applier,
}

impl Update {
    fn new(operations: &[Operation]) -> Self {
        let payload = handmade::payload(operations, Some(LEN), LEN);
        let mut reader = Reader::new(Limits::for_slot(LEN));
        let (mut input, mut manifest, mut data) = (&payload[..], None, Vec::new());
        while let Some(event) = reader.read(&mut input).unwrap() {
            match event {
                Event::Metadata { manifest: read, .. } => manifest = Some(read),
                Event::Operation { data: read, .. } => data.push(read),
                other => panic!("{other:?}"),
            }
        }
        let manifest = manifest.unwrap();
        let slot = Memory::garbage(LEN);
        let old: Arc<dyn ReadBlocks> = Memory::new(old_image());
        let target = Arc::clone(&slot);
        let applier = Applier::new(Arc::clone(&manifest), ImageKind::Slot, Some(old), target);
        Self {
            manifest,
            data,
            slot,
            applier: applier.unwrap(),
        }
    }

    fn apply(&self, number: usize) {
        let op = self.manifest.operations()[number].id;
        self.applier.apply(op, &self.data[number]).unwrap();
    }

    fn finish(self) -> Vec<u8> {
        for gap in &self.manifest.partition().unwritten {
            self.applier.copy(*gap).unwrap();
        }
        self.slot.bytes()
    }

    /// Applies up to a cut and keeps the replay rule, whatever other checkpoints are wished for. Returns where
    /// to go on.
    fn until_cut(&self, cut: usize, wished: &[bool]) -> usize {
        let mut durable = None;
        for (number, wish) in wished.iter().enumerate().take(cut) {
            if *wish {
                durable = Some(number);
            }
            match self.manifest.operations()[number].replay {
                Replay::Safe => {}
                Replay::CheckpointPast(reader) if durable.is_some_and(|next| next > reader.index()) => {}
                Replay::CheckpointPast(_) => durable = Some(number),
                Replay::Never => durable = None,
            }
            self.apply(number);
        }
        durable.unwrap_or(0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn in_order(operations in prop::collection::vec(operation(), 1..10)) {
        let update = Update::new(&operations);
        (0..operations.len()).for_each(|number| update.apply(number));
        prop_assert_eq!(update.finish(), on_a_copy(&operations));
    }

    #[test]
    fn in_any_order_that_the_plan_allows(
        operations in prop::collection::vec(operation(), 1..10),
        choices in prop::collection::vec(any::<prop::sample::Index>(), 10),
    ) {
        let update = Update::new(&operations);
        let mut waiting: BTreeSet<usize> = (0..operations.len()).collect();
        for choice in choices.iter().take(operations.len()) {
            let first = OpId::new(u32::try_from(*waiting.first().unwrap()).unwrap());
            let after = |number: &usize| update.manifest.operations()[*number].after;
            let ready: Vec<_> = waiting.iter().copied().filter(|number| after(number) < Some(first)).collect();
            let number = ready[choice.index(ready.len())];
            update.apply(number);
            waiting.remove(&number);
        }
        prop_assert_eq!(update.finish(), on_a_copy(&operations));
    }

    #[test]
    fn after_a_cut_at_any_operation(
        operations in prop::collection::vec(operation(), 1..10),
        cut in any::<prop::sample::Index>(),
        wished in prop::collection::vec(any::<bool>(), 10),
    ) {
        let update = Update::new(&operations);
        let next = update.until_cut(cut.index(operations.len()) + 1, &wished);
        (next..operations.len()).for_each(|number| update.apply(number));
        prop_assert_eq!(update.finish(), on_a_copy(&operations));
    }
}
