//! Going on where an earlier reader stopped.

use std::sync::Arc;

use payload_format::{Checkpoint, Event, FormatError, Limits, Reader, Replay};

use crate::applying::Applying;
use crate::fixture::{self, OLD_IMAGE, SLOT_LEN};

fn limits() -> Limits {
    Limits::for_slot(SLOT_LEN)
}

/// Every checkpoint of a payload, the metadata first.
fn checkpoints(payload: &[u8], chunk: usize) -> (Vec<u8>, Vec<Checkpoint>) {
    let (mut reader, mut checkpoints, mut metadata) = (fixture::reader(), Vec::new(), Vec::new());
    for chunk in payload.chunks(chunk) {
        let mut input = chunk;
        while let Some(event) = reader.read(&mut input).unwrap() {
            if let Event::Metadata { bytes, .. } = event {
                metadata = bytes;
            }
            checkpoints.push(reader.checkpoint().unwrap());
        }
    }
    (metadata, checkpoints)
}

#[test]
fn a_reader_resumes_after_any_operation_and_ends_with_the_same_hashes() {
    let payload = fixture::bytes("delta.payload");
    let whole = fixture::read(&payload, 4096, fixture::reader(), |_| {}).unwrap();
    let (metadata, checkpoints) = checkpoints(&payload, 1000);
    assert_eq!(
        checkpoints.len(),
        196,
        "before the first of 195 operations, and after each"
    );
    for checkpoint in checkpoints {
        let stored = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
        let (reader, _) = Reader::resume(limits(), &metadata, &stored).unwrap();
        let rest = &payload[usize::try_from(stored.offset()).unwrap()..];
        let mut next = stored.next_operation();
        let finished = fixture::read(rest, 777, reader, |event| match event {
            Event::Operation { op, .. } => {
                assert_eq!(op, next);
                next = next.next();
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(finished.unwrap(), whole);
    }
}

#[test]
fn a_delta_that_keeps_the_replay_rule_survives_a_cut_after_any_operation() {
    let payload = fixture::bytes("delta.payload");
    let expected = fixture::expected_sha256("new.img");
    for cut in (1..=195).step_by(7) {
        let mut applying = Applying::new(Some(&OLD_IMAGE));
        let mut reader = fixture::reader();
        let mut metadata = Vec::new();
        let mut durable = None;
        let mut input: &[u8] = &payload;
        for _ in 0..=cut {
            let before = reader.checkpoint();
            let event = reader.read(&mut input).unwrap().unwrap();
            match &event {
                Event::Metadata { bytes, .. } => {
                    metadata.clone_from(bytes);
                    durable = None;
                }
                Event::Operation { op, .. } => {
                    durable = durable.or_else(|| before.clone());
                    let done = applying.replay(*op);
                    let kept = durable.as_ref().map(Checkpoint::next_operation);
                    assert_ne!(done, Replay::Never, "the original's generator makes none");
                    if let Replay::CheckpointPast(reader) = done
                        && kept <= Some(reader)
                    {
                        durable = before;
                    }
                }
                _ => panic!("{event:?}"),
            }
            applying.event(event);
        }
        let checkpoint = durable.unwrap();
        let (reader, manifest) = Reader::resume(limits(), &metadata, &checkpoint).unwrap();
        let mut resumed = applying.resumed(&manifest);
        let rest = &payload[usize::try_from(checkpoint.offset()).unwrap()..];
        fixture::read(rest, 4096, reader, |event| resumed.event(event)).unwrap();
        resumed.copy_unwritten();
        assert_eq!(
            resumed.slot.sha256(16 << 20).to_string(),
            expected,
            "cut after {cut} operations"
        );
    }
}

#[test]
fn an_unsigned_payload_resumes_at_its_very_end() {
    let payload = fixture::bytes("full-unsigned.payload");
    let (metadata, checkpoints) = checkpoints(&payload, 4096);
    let last = checkpoints.last().unwrap();
    assert_eq!(last.offset(), payload.len() as u64);
    let (reader, _) = Reader::resume(limits(), &metadata, last).unwrap();
    assert_eq!(reader.finish().unwrap().payload_len, payload.len() as u64);
}

#[test]
fn the_checkpoint_of_another_payload_is_refused() {
    let (_, full) = checkpoints(&fixture::bytes("full.payload"), 4096);
    let (delta, _) = checkpoints(&fixture::bytes("delta.payload"), 4096);
    let error = Reader::resume(limits(), &delta, &full[3]).unwrap_err();
    assert_eq!(error, FormatError::ForeignCheckpoint);
}

#[test]
fn a_checkpoint_that_points_elsewhere_is_refused() {
    let (metadata, checkpoints) = checkpoints(&fixture::bytes("full.payload"), 4096);
    let mut bytes = checkpoints[3].to_bytes();
    for (at, value) in [(0, 200), (4, 1)] {
        let kept = std::mem::replace(&mut bytes[at], value);
        let checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
        let error = Reader::resume(limits(), &metadata, &checkpoint).unwrap_err();
        assert_eq!(error, FormatError::ForeignCheckpoint);
        bytes[at] = kept;
    }
}

#[test]
fn a_cut_checkpoint_is_refused() {
    let (_, checkpoints) = checkpoints(&fixture::bytes("full.payload"), 4096);
    let bytes = checkpoints[0].to_bytes();
    for len in 0..bytes.len() {
        assert_eq!(
            Checkpoint::from_bytes(&bytes[..len]).unwrap_err(),
            FormatError::Checkpoint
        );
    }
}

impl Applying {
    fn replay(&self, op: payload_format::OpId) -> Replay {
        self.manifest().operation(op).unwrap().replay
    }

    /// As after a restart: the slot as it is, everything else anew.
    fn resumed(self, manifest: &Arc<payload_format::Manifest>) -> Self {
        let mut resumed = Self::new(Some(&OLD_IMAGE));
        resumed.slot = self.slot;
        resumed.begin(manifest);
        resumed
    }
}
