#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use payload_format::{
    BlockRange, Data, Extent, ImageKind, OpId, Operation, OperationKind, Replay, Run, Source,
};
use proptest::prelude::*;

use super::*;

const PLENTY: u64 = u64::MAX;
const BLOCK: u64 = 4096;

fn operation(index: u32, after: Option<u32>, replay: Replay) -> Operation {
    Operation {
        id: OpId::new(index),
        image: ImageKind::Slot,
        kind: OperationKind::Replace,
        destination: Vec::new(),
        data: None,
        after: after.map(OpId::new),
        replay,
    }
}

#[test]
fn an_operation_waits_for_what_it_depends_on_and_for_nothing_else() {
    let mut schedule = Schedule::new(0, PLENTY, BLOCK);
    schedule.start(&operation(0, None, Replay::Safe));
    schedule.start(&operation(1, None, Replay::Safe));
    let dependent = operation(2, Some(0), Replay::Safe);
    assert_eq!(schedule.verdict(&dependent), Readiness::Wait);
    schedule.finish(0);
    assert_eq!(schedule.verdict(&dependent), Readiness::Start);
}

#[test]
fn memory_is_bounded_but_one_operation_always_runs() {
    let big = |index| {
        let mut big = operation(index, None, Replay::Safe);
        big.data = Some(Data {
            offset: 0,
            len: 10,
            sha256: [0; 32].into(),
        });
        big
    };
    let mut schedule = Schedule::new(0, 9, BLOCK);
    assert_eq!(schedule.verdict(&big(0)), Readiness::Start);
    schedule.start(&big(0));
    assert_eq!(schedule.verdict(&big(1)), Readiness::Wait);
    schedule.finish(0);
    assert_eq!(schedule.verdict(&big(1)), Readiness::Start);
}

#[test]
fn large_data_is_read_once_there_is_room_and_small_data_ahead() {
    let with_data = |index, len| {
        let mut operation = operation(index, None, Replay::Safe);
        operation.data = Some(Data {
            offset: 0,
            len,
            sha256: [0; 32].into(),
        });
        operation
    };
    let mut schedule = Schedule::new(0, 24 << 20, BLOCK);
    assert!(schedule.may_read(&with_data(0, 1 << 40)));
    schedule.start(&with_data(0, 20 << 20));
    for (len, may) in [
        (4 << 20, true),
        (8 << 20, true),
        ((8 << 20) + 1, false),
        (1 << 40, false),
    ] {
        assert_eq!(schedule.may_read(&with_data(1, len)), may, "{len}");
    }
    schedule.finish(0);
    assert!(schedule.may_read(&with_data(1, 1 << 40)));
}

#[test]
fn large_blocks_are_charged_for_what_they_hold() {
    let copy = |index| {
        let blocks = Extent::Blocks(BlockRange::new(0, 128).unwrap());
        let mut copy = operation(index, None, Replay::Safe);
        copy.kind = OperationKind::SourceCopy(Source::default());
        copy.destination = vec![blocks];
        copy
    };
    for (block, at_once) in [(4096, 48), (65_536, 3)] {
        let mut schedule = Schedule::new(0, 24 << 20, block);
        let started = (0..).take_while(|index| {
            let fits = schedule.verdict(&copy(*index)) == Readiness::Start;
            if fits {
                schedule.start(&copy(*index));
            }
            fits
        });
        assert_eq!(started.count(), at_once);
    }
}

#[test]
fn a_checkpoint_lies_between_a_read_of_the_target_and_its_overwriting() {
    let mut schedule = Schedule::new(0, PLENTY, BLOCK);
    schedule.start(&operation(0, None, Replay::Safe));
    schedule.finish(0);
    let overwriting = operation(1, Some(0), Replay::CheckpointPast(OpId::new(0)));
    assert_eq!(schedule.verdict(&overwriting), Readiness::Checkpoint(1));
    schedule.propose(1);
    assert_eq!(schedule.verdict(&overwriting), Readiness::Checkpoint(1));
    schedule.record();
    assert_eq!(schedule.verdict(&overwriting), Readiness::Start);
}

#[test]
fn what_overwrites_its_own_source_starts_alone_and_without_a_checkpoint() {
    let mut schedule = Schedule::new(0, PLENTY, BLOCK);
    schedule.start(&operation(0, None, Replay::Safe));
    let unrepeatable = operation(1, None, Replay::Never);
    assert_eq!(schedule.verdict(&unrepeatable), Readiness::Wait);
    schedule.propose(1);
    schedule.finish(0);
    assert_eq!(
        schedule.verdict(&unrepeatable),
        Readiness::Wait,
        "the candidate comes first"
    );
    schedule.record();
    assert_eq!(schedule.verdict(&unrepeatable), Readiness::Withdraw);
    schedule.withdraw();
    assert_eq!(schedule.verdict(&unrepeatable), Readiness::Start);
}

/// Blocks of the model's slot.
const BLOCKS: u64 = 10;

/// What one operation of the model reads and writes, a block each.
type Places = (Vec<u64>, Vec<u64>);

fn places() -> impl Strategy<Value = Vec<Places>> {
    let blocks = || proptest::collection::vec(0..BLOCKS, 1..3);
    proptest::collection::vec((blocks(), blocks()), 1..12)
}

fn at(block: u64) -> usize {
    usize::try_from(block).unwrap()
}

/// The value that operation `op` writes to its `nth` block: depends on all that it read.
fn result(op: usize, nth: usize, read: &[u64]) -> u64 {
    read.iter().fold((op * 10 + nth + 100) as u64, |hash, value| {
        hash.wrapping_mul(1_000_003).wrapping_add(*value)
    })
}

/// The slot as in-place application to a copy of the old one makes it.
fn in_place(operations: &[Places]) -> Vec<u64> {
    let mut slot: Vec<u64> = (0..BLOCKS).collect();
    for (op, (reads, writes)) in operations.iter().enumerate() {
        let read: Vec<u64> = reads.iter().map(|&b| slot[at(b)]).collect();
        for (nth, &block) in writes.iter().enumerate() {
            slot[at(block)] = result(op, nth, &read);
        }
    }
    slot
}

/// The same plan as the format crate's, block by block.
fn plan(operations: &[Places]) -> Vec<Operation> {
    let (mut writers, mut readers) = (BTreeMap::new(), BTreeMap::new());
    let mut planned = Vec::new();
    for (index, (reads, writes)) in operations.iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        let range = |b: u64| BlockRange::new(b, b + 1).unwrap();
        let run = |&b: &u64| {
            if writers.contains_key(&b) {
                Run::Target(range(b))
            } else {
                Run::Old(range(b))
            }
        };
        let runs: Vec<Run> = reads.iter().map(run).collect();
        let own = writes.iter().any(|w| runs.contains(&Run::Target(range(*w))));
        let reader = writes.iter().filter_map(|w| readers.get(w)).max().copied();
        let touched = reads.iter().chain(writes);
        let after = touched.filter_map(|b| writers.get(b)).max().copied().max(reader);
        let replay = match (own, reader) {
            (true, _) => Replay::Never,
            (false, Some(reader)) => Replay::CheckpointPast(OpId::new(reader)),
            (false, None) => Replay::Safe,
        };
        for read in reads.iter().filter(|b| writers.contains_key(*b)) {
            readers.insert(*read, index);
        }
        for &write in writes {
            writers.insert(write, index);
            readers.remove(&write);
        }
        let mut operation = operation(index, after, replay);
        operation.kind = OperationKind::Move(Source { runs, sha256: None });
        operation.destination = writes.iter().map(|&b| Extent::Blocks(range(b))).collect();
        planned.push(operation);
    }
    planned
}

/// A run of the schedule against a slot that forgets what was not synced, driven by a script of
/// choices.
struct Model<'a> {
    operations: &'a [Operation],
    schedule: Schedule,
    /// What reading gives.
    live: Vec<u64>,
    /// What a cut leaves at least.
    durable: Vec<u64>,
    /// The durable checkpoint.
    recorded: Option<usize>,
    /// Writes of what is in flight.
    in_flight: BTreeMap<usize, Vec<(u64, u64)>>,
}

impl<'a> Model<'a> {
    fn new(operations: &'a [Operation], durable: Vec<u64>, recorded: Option<usize>) -> Self {
        let first = recorded.unwrap_or(0);
        Self {
            operations,
            schedule: Schedule::new(first, PLENTY, BLOCK),
            live: durable.clone(),
            durable,
            // An attempt that starts over makes a checkpoint before its first operation.
            recorded: Some(first),
            in_flight: BTreeMap::new(),
        }
    }

    fn step(&mut self, choice: u8) {
        match choice % 4 {
            0 | 1 => self.advance(),
            2 => self.finish_one(choice),
            _ => self.checkpoint(),
        }
    }

    fn advance(&mut self) {
        let Some(next) = self.operations.get(self.schedule.next()) else {
            return;
        };
        match self.schedule.verdict(next) {
            Readiness::Start => self.start(next),
            Readiness::Wait => {}
            Readiness::Checkpoint(past) => {
                assert!(past <= self.schedule.next());
                if self.schedule.candidate().is_none() {
                    self.schedule.propose(self.schedule.next());
                }
            }
            Readiness::Withdraw => {
                assert!(self.in_flight.is_empty());
                self.schedule.withdraw();
                self.recorded = None;
                self.start(next);
            }
        }
    }

    fn start(&mut self, operation: &Operation) {
        let runs = &operation.kind.source().unwrap().runs;
        let read: Vec<u64> = runs
            .iter()
            .map(|run| match run {
                Run::Old(range) => range.start(),
                Run::Target(range) => self.live[at(range.start())],
                Run::Zeros(_) => unreachable!("the model has no holes"),
            })
            .collect();
        let writes = operation.destination.iter().enumerate().map(|(nth, extent)| {
            let Extent::Blocks(range) = extent else {
                unreachable!("the model has no holes")
            };
            (range.start(), result(operation.id.index(), nth, &read))
        });
        self.in_flight.insert(operation.id.index(), writes.collect());
        self.schedule.start(operation);
    }

    fn finish_one(&mut self, choice: u8) {
        let nth = usize::from(choice / 4) % self.in_flight.len().max(1);
        let Some(&index) = self.in_flight.keys().nth(nth) else {
            return;
        };
        for (block, value) in self.in_flight.remove(&index).unwrap() {
            self.live[at(block)] = value;
        }
        self.schedule.finish(index);
    }

    fn checkpoint(&mut self) {
        match self.schedule.candidate() {
            Some((next, true)) => {
                self.durable.clone_from(&self.live);
                self.schedule.record();
                self.recorded = Some(next);
            }
            None if self.schedule.next() > 0 => self.schedule.propose(self.schedule.next()),
            None | Some((_, false)) => {}
        }
    }

    /// What a cut leaves: of every block written since the last sync, the old or the new content;
    /// of what was in flight, any part.
    fn cut(mut self, choices: &mut impl Iterator<Item = u8>) -> (Vec<u64>, Option<usize>) {
        let dirty_partitions = std::mem::take(&mut self.in_flight).into_values().flatten();
        for (block, value) in dirty_partitions.chain((0..BLOCKS).map(|b| (b, self.live[at(b)]))) {
            if choices.next().unwrap_or(0).is_multiple_of(2) {
                self.durable[at(block)] = value;
            }
        }
        (self.durable, self.recorded)
    }

    fn run_to_the_end(mut self) -> Vec<u64> {
        for _ in 0..1000 {
            self.advance();
            self.checkpoint();
            self.finish_one(0);
            if self.schedule.next() == self.operations.len() && self.schedule.is_idle() {
                return self.live;
            }
        }
        panic!("the schedule stands still: {:?}", self.schedule);
    }
}

proptest! {
    #[test]
    fn cuts_anywhere_and_resumption_give_what_one_run_gives(
        places in places(),
        cuts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..4),
    ) {
        let operations = plan(&places);
        let mut state = (vec![u64::MAX; at(BLOCKS)], None);
        for script in cuts {
            let mut model = Model::new(&operations, state.0, state.1);
            let (steps, choices) = script.split_at(script.len() * 2 / 3);
            for &choice in steps {
                model.step(choice);
            }
            state = model.cut(&mut choices.iter().copied());
        }
        let slot = Model::new(&operations, state.0, state.1).run_to_the_end();
        let expected = in_place(&places);
        for block in places.iter().flat_map(|(_, writes)| writes) {
            let block = at(*block);
            prop_assert_eq!(slot[block], expected[block], "block {}", block);
        }
    }
}
