//! Content payloads that are refused, and by whom.

use payload_format::{
    ContentError, FormatError, Limits, MajorVersion, Manifest, ManifestError, Metadata, TablesError,
};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{build, generate, limits, read, small_chunks};
use crate::fixture::refusal;

fn image() -> Vec<u8> {
    (0..120_000_u32)
        .flat_map(|at| (at.wrapping_mul(at) >> 5).to_le_bytes())
        .collect()
}

fn manifest(payload: &[u8]) -> Vec<u8> {
    let len = u64::from_be_bytes(payload[12..20].try_into().unwrap());
    payload[24..24 + usize::try_from(len).unwrap()].to_vec()
}

/// Readers that know nothing of content, and ours unless told otherwise, refuse it by its minor
/// version, before anything is written.
#[test]
fn whoever_builds_no_content_refuses_the_minor_version() {
    let payload = generate(&image(), &small_chunks());
    let refused = refusal(&payload, Limits::for_slot(1 << 30));
    assert_eq!(
        refused,
        FormatError::Manifest(ManifestError::MinorVersion(50_001))
    );
}

#[test]
fn a_chunk_that_was_changed_on_the_way_is_refused() {
    let mut read = read(&generate(&image(), &small_chunks()));
    let middle = read.data.len() / 2;
    read.data[middle] ^= 1;
    let refused = build(&read, None).err().unwrap();
    assert!(
        matches!(
            refused,
            ContentError::ChunkHash { .. } | ContentError::Unpack { .. }
        ),
        "{refused}"
    );
}

#[test]
fn chunks_in_another_order_are_refused() {
    let read = read(&generate(&image(), &small_chunks()));
    let tables = read.manifest.content().unwrap();
    let target = crate::memory::Memory::garbage(1 << 20);
    let mut builder = payload_format::ContentBuilder::new(tables.clone(), image().len() as u64, target);
    assert!(matches!(
        builder.take(b"something else"),
        Err(ContentError::ChunkHash { chunk: 0 })
    ));
    assert!(matches!(builder.finish(), Err(ContentError::Incomplete { .. })));
}

#[test]
fn an_encoder_that_is_not_built_in_is_refused_by_its_name() {
    let payload = generate(
        &crate::fixture::image("../content/btrfs-new.img"),
        &small_chunks(),
    );
    let mut manifest = manifest(&payload);
    let name = b"btrfs-zstd-1.5.7";
    let at = manifest
        .windows(name.len())
        .position(|window| window == name)
        .unwrap();
    manifest[at + name.len() - 1] = b'8';
    let refused = Manifest::parse(&manifest, MajorVersion::V2, &limits()).unwrap_err();
    let ManifestError::Content(TablesError::Encoder { name, level: 3 }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(name, "btrfs-zstd-1.5.8");
}

#[test]
fn the_metadata_is_whole() {
    let payload = generate(&image(), &small_chunks());
    let len = 24 + manifest(&payload).len();
    assert!(Metadata::parse(&payload[..len]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is changed in the tables, they are refused, or what they ask for stays within the
    /// image.
    #[test]
    fn tables_of_anybody_are_refused_or_stay_within_the_image(
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        use std::sync::LazyLock;
        static PAYLOAD: LazyLock<Vec<u8>> =
            LazyLock::new(|| {
                let image = crate::fixture::image("../content/btrfs-new.img");
                generate(&super::parts::with_verity(image), &small_chunks())
            });
        let mut payload = PAYLOAD.clone();
        let len = manifest(&payload).len();
        for (at, byte) in damage {
            payload[24 + at.index(len)] ^= byte;
        }
        let mut reader = payload_format::Reader::new(limits());
        let mut input = payload.as_slice();
        let (mut found, mut data) = (None, Vec::new());
        while let Ok(Some(event)) = reader.read(&mut input) {
            match event {
                payload_format::Event::Metadata { manifest, .. } => found = Some(manifest),
                payload_format::Event::Content { data: piece } => data.extend(piece),
                _ => {}
            }
        }
        let Some(manifest) = found else { return Ok(()) };
        if manifest.content().is_none_or(|tables| tables.data_len() != data.len() as u64) {
            return Ok(());
        }
        // `Memory` panics at nothing, and refuses what lies outside.
        if let Err(ContentError::Write { offset, source }) = build(&super::Read { manifest, data }, None) {
            panic!("at {offset}: {source}");
        }
    }
}
