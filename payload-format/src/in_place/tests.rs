#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn range(start: u64, end: u64) -> BlockRange {
    BlockRange::new(start, end).unwrap()
}

fn blocks(start: u64, end: u64) -> Extent {
    Extent::Blocks(range(start, end))
}

/// Steps of operations that read and write these blocks.
fn steps<const N: usize>(operations: [(&[Extent], &[Extent]); N]) -> [PlannedOperation; N] {
    let mut plan = InPlace::new(Reading::InPlace, 100);
    let mut number = 0;
    operations.map(|(source, destination)| {
        let op = OpId::new(number);
        number += 1;
        plan.step(op, source, destination).unwrap()
    })
}

#[test]
fn operations_that_read_the_old_image_alone_depend_on_nothing() {
    let [a, b] = steps([
        (&[blocks(5, 6)], &[blocks(4, 5)]),
        (&[blocks(6, 7)], &[blocks(5, 6)]),
    ]);
    assert_eq!((a.after, b.after), (None, None));
    assert_eq!((a.replay, b.replay), (Replay::Safe, Replay::Safe));
}

#[test]
fn reading_what_was_written_waits_for_the_writer() {
    let [_, b] = steps([(&[], &[blocks(0, 2)]), (&[blocks(1, 3)], &[blocks(5, 7)])]);
    assert_eq!(b.source.runs, [Run::Target(range(1, 2)), Run::Old(range(2, 3))]);
    assert_eq!(b.after, Some(OpId::new(0)));
}

#[test]
fn overwriting_waits_for_writer_and_reader() {
    let [_, _, c] = steps([
        (&[], &[blocks(0, 1)]),
        (&[blocks(0, 1)], &[blocks(4, 5)]),
        (&[], &[blocks(0, 1)]),
    ]);
    assert_eq!(c.after, Some(OpId::new(1)));
    assert_eq!(c.replay, Replay::CheckpointPast(OpId::new(1)));
}

#[test]
fn an_operation_that_overwrites_its_source_still_waits_for_other_readers() {
    let [_, _, c] = steps([
        (&[], &[blocks(0, 1)]),
        (&[blocks(0, 1)], &[blocks(4, 5)]),
        (&[blocks(0, 1)], &[blocks(0, 1)]),
    ]);
    assert_eq!((c.after, c.replay), (Some(OpId::new(1)), Replay::Never));
}

#[test]
fn holes_read_zeros_and_write_nothing() {
    let [a] = steps([(&[Extent::Hole(2), blocks(1, 2)], &[Extent::Hole(3)])]);
    assert_eq!(a.source.runs, [Run::Zeros(2), Run::Old(range(1, 2))]);
}

#[test]
fn sources_in_too_many_pieces_are_refused() {
    let mut plan = InPlace::new(Reading::InPlace, 2);
    plan.step(OpId::new(0), &[], &[blocks(1, 2)]).unwrap();
    let error = plan
        .step(OpId::new(1), &[blocks(0, 3)], &[blocks(8, 11)])
        .unwrap_err();
    assert_eq!(error, TooManyPieces(2));
}

const BLOCKS: u64 = 12;
const COUNT: usize = 12;

prop_compose! {
    fn any_extent()(start in 0..BLOCKS, count in 1..4_u64, hole in 0..8) -> Extent {
        if hole == 0 { Extent::Hole(u32::try_from(count).unwrap()) } else { blocks(start, (start + count).min(BLOCKS)) }
    }
}

fn extents() -> impl Strategy<Value = Vec<Extent>> {
    prop::collection::vec(any_extent(), 0..4)
}

/// Block by block.
fn each(extents: &[Extent]) -> impl Iterator<Item = usize> {
    ranges(extents).flat_map(indices)
}

fn indices(range: BlockRange) -> std::ops::Range<usize> {
    usize::try_from(range.start()).unwrap()..usize::try_from(range.end()).unwrap()
}

proptest! {
    /// The plan against a list of blocks that is as simple as can be.
    #[test]
    fn the_plan_is_what_a_list_of_blocks_says(operations in prop::collection::vec((extents(), extents()), 0..12)) {
        let mut plan = InPlace::new(Reading::InPlace, 10_000);
        let mut writer = [None; COUNT];
        let mut reader = [None; COUNT];
        for (number, (source, destination)) in (0..).zip(&operations) {
            let op = OpId::new(number);
            let step = plan.step(op, source, destination).unwrap();

            let mut after = each(destination).filter_map(|block| writer[block].max(reader[block])).max();
            for block in each(source) {
                after = after.max(writer[block]);
                if writer[block].is_some() {
                    reader[block] = Some(op);
                }
            }
            prop_assert_eq!(step.after, after);
            let overwritten = each(destination).filter_map(|block| reader[block]).max();
            let replay = match overwritten {
                None => Replay::Safe,
                Some(reader) if reader == op => Replay::Never,
                Some(reader) => Replay::CheckpointPast(reader),
            };
            prop_assert_eq!(step.replay, replay);
            let from_target: Vec<_> = step.source.runs.iter().flat_map(|run| match run {
                Run::Target(range) => indices(*range),
                _ => 0..0,
            }).collect();
            let expected: Vec<_> = each(source).filter(|block| writer[*block].is_some()).collect();
            prop_assert_eq!(from_target, expected);
            for block in each(destination) {
                writer[block] = Some(op);
                reader[block] = None;
            }
        }
        let unwritten: Vec<_> = plan.unwritten(BLOCKS).iter().flat_map(|gap| indices(*gap)).collect();
        let expected: Vec<_> = (0..COUNT).filter(|block| writer[*block].is_none()).collect();
        prop_assert_eq!(unwritten, expected);
    }
}
