//! Payloads through the push reader.

use payload_format::{
    Checkpoint, Event, Extent, ExtraPartitionLimits, Finished, FormatError, Header, Limits, Manifest,
    Metadata, Outline, Reader,
};

use super::draft::{BLOCK, Draft, LEN};
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "payload",
    property: "Any cut into pieces, and going on from any checkpoint, gives the same events or the same error; \
               what is accepted lies within the slot.",
    check,
};

/// Bytes of the slot.
const SLOT: usize = 3 * LEN;

type Outcome = (Vec<Event>, Result<Finished, FormatError>);

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let pieces: [usize; 3] = std::array::from_fn(|_| 1 + usize::from(input.byte()));
    let limits = Limits {
        whole_data: [0, 40, 700, 1 << 20][input.below(4)],
        manifest_len: 64 << 10,
        extra_partitions: ExtraPartitionLimits::Any,
        ..Limits::for_slot(SLOT as u64)
    };
    let back = input.byte();
    let payload = if input.is_odd() {
        input.rest().to_vec()
    } else {
        // Seldom: most changes are found out in the first bytes.
        let is_changed = input.byte() > 190;
        let flips = [input.short(), input.short()].map(|flip| if is_changed { flip } else { 0 });
        changed(Draft::any(&mut input).payload(), flips)
    };
    let whole = read(Reader::new(limits), &payload, &[payload.len().max(1)], Bug::None);
    let cut = read(Reader::new(limits), &payload, &pieces, bug);
    assert_eq!(whole, cut, "in pieces of {pieces:?}");
    if let Some(Event::Metadata { manifest, bytes, .. }) = whole.0.first() {
        within_bounds(manifest, &limits);
        outlined(manifest, bytes);
        resumed(&payload, limits, &whole, back);
    }
}

/// The payload with bits of two bytes changed; 0 changes nothing.
fn changed(mut payload: Vec<u8>, flips: [u16; 2]) -> Vec<u8> {
    for flip in flips {
        let at = usize::from(flip >> 3) % payload.len();
        if flip != 0 {
            payload[at] ^= 1 << (flip & 7);
        }
    }
    payload
}

/// Reads a payload in pieces of these lengths, again and again.
fn read(mut reader: Reader, payload: &[u8], pieces: &[usize], bug: Bug) -> Outcome {
    let mut events = Vec::new();
    let (mut rest, mut lengths) = (payload, pieces.iter().cycle());
    let mut is_over = false;
    // Once without a byte: the last operations may have no data.
    while !is_over {
        is_over = rest.is_empty();
        let len = lengths.next().copied().unwrap_or(1);
        let (mut piece, after) = rest.split_at(len.min(rest.len()));
        loop {
            match reader.read(&mut piece) {
                Ok(None) => break,
                Ok(Some(Event::Operation { op, mut data })) => {
                    if bug.strikes(op.index() == 1 && data.len() > 64) {
                        data[64] ^= 1;
                    }
                    events.push(Event::Operation { op, data });
                }
                Ok(Some(event)) => events.push(event),
                Err(error) => return (events, Err(error)),
            }
        }
        assert!(
            piece.is_empty(),
            "{} bytes are left without an event",
            piece.len()
        );
        rest = after;
    }
    (events, reader.finish())
}

/// All places are within their images' rooms, and data lies end to end.
fn within_bounds(manifest: &Manifest, limits: &Limits) {
    let mut data = 0;
    let block = manifest.block_size().bytes();
    for operation in manifest.operations() {
        let room = match operation.image {
            payload_format::ImageKind::Slot => limits.slot_len,
            payload_format::ImageKind::ExtraPartition(_) => u64::MAX,
            _ => limits.file_len,
        };
        for extent in &operation.destination {
            if let Extent::Blocks(range) = extent {
                assert!(range.end() <= room / block, "{range} of {room} bytes");
            }
        }
        if let Some(part) = operation.data {
            assert_eq!(part.offset, data);
            data += part.len;
        }
    }
    assert_eq!(manifest.data_len(), data);
    assert!(block >= BLOCK as u64);
    assert!(manifest.partition().new.size <= limits.slot_len);
}

/// People are shown the same images.
fn outlined(manifest: &Manifest, metadata: &[u8]) {
    let header = Header::parse(metadata).expect("read before").expect("whole");
    let parsed = Metadata::parse(metadata).expect("read before");
    let bytes = &parsed.signed()[header.version.header_len()..];
    let outline = Outline::parse(bytes, header.version).expect("a manifest that was accepted");
    assert_eq!(outline.block_size(), manifest.block_size().bytes());
    assert_eq!(outline.images().count(), manifest.images().len());
}

/// From the checkpoint after event number `back` the rest comes as it came before.
fn resumed(payload: &[u8], limits: Limits, whole: &Outcome, back: u8) {
    let (mut reader, mut input) = (Reader::new(limits), payload);
    let mut found = None;
    for number in 0..=usize::from(back) {
        match reader.read(&mut input) {
            Ok(Some(Event::Piece { .. })) | Err(_) => {}
            Ok(Some(_)) => found = reader.checkpoint().map(|checkpoint| (number + 1, checkpoint)),
            Ok(None) => break,
        }
    }
    let (Some((next, checkpoint)), Some(Event::Metadata { bytes, .. })) = (found, whole.0.first()) else {
        return;
    };
    let checkpoint = Checkpoint::from_bytes(&checkpoint.to_bytes()).expect("what was written");
    let (reader, _) = Reader::resume(limits, bytes, &checkpoint).expect("of this payload");
    let rest = usize::try_from(checkpoint.offset()).expect("within the payload");
    let (events, end) = read(reader, &payload[rest..], &[100], Bug::None);
    assert_eq!(events, whole.0[next..]);
    assert_eq!(end, whole.1);
}
