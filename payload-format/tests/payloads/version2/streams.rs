//! Compressed data: what the usual tools make of it, and what an attacker would.

use std::io::Write as _;
use std::process::{Command, Stdio};

use payload_format::{Applier, Event, ImageKind, Limits, OpId, Reader};

use super::made::{self, Operation, Payload};
use super::{LEN, full, old_image};
use crate::memory::Memory;

/// What a tool makes of `input`.
fn filter(tool: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{tool}");
    output.stdout
}

/// Applies the only operation of a payload; the image, or what is wrong.
fn apply(payload: &Payload) -> Result<Vec<u8>, String> {
    let len = (payload.new.len() as u64).next_multiple_of(512);
    let (bytes, slot) = (payload.unsigned(), Memory::garbage(len));
    let (mut reader, mut input) = (Reader::new(Limits::for_slot(len)), &bytes[..]);
    let Some(Event::Metadata { manifest, .. }) = reader.read(&mut input).unwrap() else {
        panic!("the metadata comes first");
    };
    let old = payload.old.clone().map(|old| Memory::new(old) as _);
    let target = std::sync::Arc::clone(&slot);
    let applier = Applier::new(manifest, ImageKind::Slot, old, target).unwrap();
    let result = applier.apply(OpId::FIRST, &payload.operations[0].data);
    result.map_err(|error| {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    })?;
    let mut image = slot.bytes();
    image.truncate(payload.new.len());
    Ok(image)
}

/// Some megabytes that compress to a few thousand bytes.
fn image() -> Vec<u8> {
    (0..5_000_001_u32).map(|at| (at / 999).to_le_bytes()[0]).collect()
}

#[test]
fn what_the_tools_make_is_read() {
    let tools: [(u64, &str, &[&str]); 5] = [
        (made::REPLACE_BZ, "bzip2", &["-9c"]),
        (made::REPLACE_XZ, "xz", &["-6c"]),
        (made::REPLACE_XZ, "xz", &["-6c", "--check=none"]),
        (
            made::REPLACE_XZ,
            "xz",
            &["-1c", "--check=crc32", "--block-size=1000000"],
        ),
        (made::REPLACE_ZSTD, "zstd", &["-19c", "--check"]),
    ];
    for (number, tool, arguments) in tools {
        let payload = full(number, filter(tool, arguments, &image()), &image());
        assert!(apply(&payload).unwrap() == image(), "{tool} {arguments:?}");
    }
}

#[test]
fn streams_that_ask_for_too_much_memory_are_refused() {
    let tools: [(u64, &str, &[&str]); 2] = [
        (made::REPLACE_XZ, "xz", &["-9c"]),
        (
            made::REPLACE_ZSTD,
            "zstd",
            &["-19c", "--long=27", "--no-content-size"],
        ),
    ];
    for (number, tool, arguments) in tools {
        let image = [image(), image()].concat();
        let error = apply(&full(number, filter(tool, arguments, &image), &image)).unwrap_err();
        let start = format!("operation 0 failed: its data is no intact {tool} stream");
        assert!(error.starts_with(&start), "{error}");
    }
}

#[test]
fn streams_that_are_cut_off_or_followed_by_more_are_refused() {
    let new = vec![9; 700];
    let streams = [
        (made::REPLACE_XZ, "xz", made::xz(&new)),
        (made::REPLACE_ZSTD, "zstd", made::zstd(&new)),
    ];
    for (number, name, data) in streams {
        let cut = data[..data.len() - 1].to_vec();
        assert_eq!(
            apply(&full(number, cut, &new)).unwrap_err(),
            format!("operation 0 failed: its {name} stream is cut off")
        );
        let more = [&data[..], &data[..5]].concat();
        assert_eq!(
            apply(&full(number, more, &new)).unwrap_err(),
            format!("operation 0 failed: 5 bytes follow its {name} stream")
        );
        let foreign = full(number, new.clone(), &new);
        let error = apply(&foreign).unwrap_err();
        assert!(error.contains(&format!("no intact {name} stream")), "{error}");
    }
}

#[test]
fn a_stream_that_unpacks_to_more_than_its_blocks_is_refused_without_unpacking_it() {
    let bomb = vec![0; 100 << 20];
    for (number, data) in [
        (made::REPLACE_XZ, made::xz(&bomb)),
        (made::REPLACE_ZSTD, made::zstd(&bomb)),
    ] {
        let error = apply(&full(number, data, &[0; 700])).unwrap_err();
        assert_eq!(
            error,
            "operation 0 failed: its result is longer than its 1024 bytes of blocks"
        );
    }
}

/// A payload that patches all of the old image.
fn patched(number: u64, data: Vec<u8>) -> Payload {
    let operation = Operation {
        number,
        data,
        source: vec![(0, 24)],
        destination: vec![(0, 24)],
        ..Operation::default()
    };
    Payload::new(vec![operation], Some(old_image()), old_image())
}

#[test]
fn patches_are_in_the_format_of_their_operation() {
    let len = usize::try_from(LEN).unwrap();
    let bsdiff40 = made::patch(len, 1, b"BSDIFF40", [1; 3]);
    let bsdf2 = made::patch(len, 1, b"BSDF2\x02\x02\x02", [2; 3]);
    apply(&patched(made::SOURCE_BSDIFF, bsdiff40.clone())).unwrap();
    apply(&patched(made::BROTLI_BSDIFF, bsdf2.clone())).unwrap();
    let error = apply(&patched(made::SOURCE_BSDIFF, bsdf2)).unwrap_err();
    assert!(error.ends_with("it has no BSDIFF40 header"), "{error}");
    let error = apply(&patched(made::BROTLI_BSDIFF, bsdiff40)).unwrap_err();
    assert!(error.ends_with("it has no BSDF2 header"), "{error}");
}

#[test]
fn brotli_parts_that_ask_for_too_much_memory_or_are_none_are_refused() {
    let len = usize::try_from(LEN).unwrap();
    let mut patch = made::patch(len, 1, b"BSDF2\x02\x02\x02", [2; 3]);
    patch[5] = 3;
    let error = apply(&patched(made::BROTLI_BSDIFF, patch.clone())).unwrap_err();
    assert!(
        error.ends_with("its control stream has unknown compression 3"),
        "{error}"
    );
    patch[5] = 2;
    // The first byte of the control stream: a window of 16 MiB, then one of the "large window" extension.
    for first in [0x0f, 0x11] {
        patch[32] = first;
        let error = apply(&patched(made::BROTLI_BSDIFF, patch.clone())).unwrap_err();
        let end = "its control stream is no brotli stream with a window of 4 MiB at most";
        assert!(error.ends_with(end), "{error}");
    }
}

#[test]
fn a_brotli_part_that_is_cut_off_is_refused() {
    let len = usize::try_from(LEN).unwrap();
    let mut patch = made::patch(len, 1, b"BSDF2\x02\x02\x02", [2; 3]);
    // The control stream ends one byte early, the diff stream begins there.
    let control = u64::from_le_bytes(patch[8..16].try_into().unwrap());
    patch[8..16].copy_from_slice(&(control / 2).to_le_bytes());
    let error = apply(&patched(made::BROTLI_BSDIFF, patch)).unwrap_err();
    assert!(error.contains("stream is damaged or ends early"), "{error}");
}
