//! Operations of every kind, applied.

use std::sync::Arc;

use payload_format::{
    Applier, BlockRange, Event, Extent, ImageKind, Limits, Manifest, Operation, ReadBlocks, Reader,
};

use super::draft::{BLOCK, Draft, LEN};
use super::memory::Memory;
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "apply",
    property: "In any order that the plan allows, whole or in pieces, operations give what they give one after \
               the other on a copy of the old image; one with spoilt data writes nowhere but to its own blocks.",
    check,
};

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let order: [u8; 8] = std::array::from_fn(|_| input.byte());
    let spoilt = input.short();
    let mut draft = Draft::any(&mut input);
    let is_spoilt = spoilt % 2 == 1 && spoil(&mut draft, spoilt);
    let (manifest, data) = operations(&draft);
    let target = Memory::with(vec![0xa5; LEN], bug);
    let old: Arc<dyn ReadBlocks> = Memory::new(draft.old.clone());
    let applier = Applier::new(Arc::clone(&manifest), ImageKind::Slot, Some(old), target.clone());
    let applier = applier.expect("it has the image");
    let all: Vec<_> = manifest.operations().iter().zip(&data).collect();
    let mut waiting = all.clone();
    for turn in 0.. {
        let first = waiting.first().map(|(operation, _)| operation.id);
        let ready: Vec<usize> = (0..waiting.len())
            .filter(|&at| waiting[at].0.after < first)
            .collect();
        if ready.is_empty() {
            break;
        }
        let choice = order[turn % order.len()];
        let (operation, data) = waiting.remove(ready[usize::from(choice) % ready.len()]);
        let before = target.bytes();
        let result = apply(&applier, operation, data, choice);
        if is_spoilt {
            untouched(&before, &target.bytes(), operation);
        } else {
            result.expect("sound data");
        }
    }
    assert!(waiting.is_empty(), "{} operations wait for ever", waiting.len());
    if is_spoilt {
        return;
    }
    for &range in &manifest.partition().unwritten {
        applier.copy(range).expect("blocks of the old image");
    }
    assert!(target.bytes() == draft.new, "another image than on a copy");
}

/// Changes a byte of an operation's data; tells whether there is one.
fn spoil(draft: &mut Draft, choice: u16) -> bool {
    let with_data = draft
        .operations
        .iter_mut()
        .filter(|operation| !operation.data.is_empty());
    let mut with_data: Vec<_> = with_data.collect();
    if with_data.is_empty() {
        return false;
    }
    let count = with_data.len();
    let data = &mut with_data[usize::from(choice >> 1) % count].data;
    let at = usize::from(choice >> 3) % data.len();
    data[at] ^= 1 << (choice >> 13);
    true
}

fn operations(draft: &Draft) -> (Arc<Manifest>, Vec<Vec<u8>>) {
    let payload = draft.payload();
    let mut reader = Reader::new(Limits::for_slot(3 * LEN as u64));
    let (mut input, mut manifest, mut all) = (&payload[..], None, Vec::new());
    while let Some(event) = reader.read(&mut input).expect("a sound manifest") {
        match event {
            Event::Metadata { manifest: read, .. } => manifest = Some(read),
            Event::Operation { data, .. } => all.push(data),
            Event::Piece { .. } | Event::PiecesVerified { .. } | Event::Content { .. } => {
                unreachable!("all of it is short, and content is refused")
            }
        }
    }
    (manifest.expect("the first event"), all)
}

fn apply(
    applier: &Applier,
    operation: &Operation,
    data: &[u8],
    choice: u8,
) -> Result<(), payload_format::ApplyError> {
    let piece = [0, 7, 100, 1000][usize::from(choice >> 6)];
    if piece > 0
        && let Ok(mut streamed) = applier.stream(operation.id)
    {
        for piece in data.chunks(piece) {
            streamed.write(piece)?;
        }
        return streamed.finish();
    }
    applier.apply(operation.id, data)
}

/// Nothing but the operation's destination has changed.
fn untouched(before: &[u8], after: &[u8], operation: &Operation) {
    let is_own = |block: u64| {
        let mut extents = operation.destination.iter();
        let holds = |range: &BlockRange| (range.start()..range.end()).contains(&block);
        extents.any(|extent| matches!(extent, Extent::Blocks(range) if holds(range)))
    };
    for (block, (before, after)) in before.chunks(BLOCK).zip(after.chunks(BLOCK)).enumerate() {
        assert!(
            before == after || is_own(block as u64),
            "block {block} was written"
        );
    }
}
