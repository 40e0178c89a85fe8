//! Our bzip2 decoder beside libbz2's.

use std::io::Read as _;
use std::sync::Arc;

use bzip2::bufread::BzDecoder;
use payload_format::{Applier, Event, Fault, ImageKind, Limits, MajorVersion, OpId, ReadBlocks, Reader};

use super::draft::{BLOCK, BLOCKS, Draft, LEN, Operation};
use super::memory::Memory;
use super::patch::pack;
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "bzip2",
    property: "What libbz2 unpacks is unpacked to the same bytes, and what it refuses is refused.",
    check,
};

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let data = if input.is_odd() {
        input.rest().to_vec()
    } else {
        let flip = if input.byte() > 190 { input.short() } else { 0 };
        let mut text = Vec::new();
        while !input.is_empty() && text.len() < LEN {
            let len = usize::from(input.short()) % 700;
            text.extend(input.pattern(len));
        }
        text.truncate(LEN);
        let mut data = pack(&text, 1);
        if flip != 0 {
            let at = usize::from(flip >> 3) % data.len();
            data[at] ^= 1 << (flip & 7);
        }
        data
    };
    if data.is_empty() {
        return;
    }
    let theirs = theirs(&data);
    let mut ours = ours(&data);
    if let Ok(bytes) = &mut ours
        && bug.strikes(bytes[1000] != 0)
    {
        bytes[1000] = 0;
    }
    match (theirs, ours) {
        (Libbz2::Whole(theirs), Ok(ours)) => {
            assert!(ours[..theirs.len()] == theirs[..], "other bytes");
            assert!(ours[theirs.len()..].iter().all(|&byte| byte == 0), "more bytes");
        }
        (Libbz2::Whole(theirs), Err(Fault::TooShort { len, .. })) => assert_eq!(len, theirs.len() as u64),
        (Libbz2::TooLong | Libbz2::Refused, Err(_)) | (Libbz2::Followed(_), Err(Fault::TooShort { .. })) => {}
        (Libbz2::Followed(rest), Err(Fault::TrailingBytes { len, .. })) => assert_eq!(len, rest),
        (theirs, ours) => panic!("libbz2: {theirs:?}; here: {ours:?}"),
    }
}

/// What libbz2 makes of one stream.
#[derive(Debug)]
enum Libbz2 {
    Whole(Vec<u8>),
    /// So many bytes follow it.
    Followed(usize),
    /// It has more bytes than the slot.
    TooLong,
    Refused,
}

fn theirs(data: &[u8]) -> Libbz2 {
    let mut rest = data;
    let mut decoder = BzDecoder::new(&mut rest);
    let mut unpacked = Vec::new();
    let result = decoder.by_ref().take(LEN as u64 + 1).read_to_end(&mut unpacked);
    match result {
        Err(_) => Libbz2::Refused,
        Ok(_) if unpacked.len() > LEN => Libbz2::TooLong,
        Ok(_) if rest.is_empty() => Libbz2::Whole(unpacked),
        Ok(_) => Libbz2::Followed(rest.len()),
    }
}

/// What is written here, the whole slot.
fn ours(data: &[u8]) -> Result<Vec<u8>, Fault> {
    let draft = Draft {
        version: MajorVersion::V2,
        operations: vec![Operation::new(1, data.to_vec(), vec![(Some(0), BLOCKS)])],
        old: vec![0; BLOCK],
        // So that no last block needs content.
        new: vec![0; LEN],
        signatures: [Vec::new(), Vec::new()],
    };
    let event = Reader::new(Limits::for_slot(LEN as u64)).read(&mut &draft.payload()[..]);
    let Ok(Some(Event::Metadata { manifest, .. })) = event else {
        panic!("no manifest: {event:?}");
    };
    let target = Memory::new(vec![0; LEN]);
    let old: Arc<dyn ReadBlocks> = Memory::new(draft.old);
    let applier = Applier::new(manifest, ImageKind::Slot, Some(old), target.clone()).expect("a slot");
    match applier.apply(OpId::FIRST, data) {
        Ok(()) => Ok(target.bytes()),
        Err(payload_format::ApplyError::Operation { fault, .. }) => Err(fault),
        Err(other) => panic!("{other}"),
    }
}
