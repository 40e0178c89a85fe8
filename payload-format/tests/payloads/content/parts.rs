//! What of an image is not sent: the hash tree, which is computed, and a kernel that the image
//! holds, too.

use std::sync::Arc;

use payload_format::writer::{ContentPayload, Snapshot};
use payload_format::{
    BlockRange, ContentBuilder, ContentCopy, Image, ImageKind, MajorVersion, Manifest, ManifestError,
    Sha256Digest, TablesError,
};

use super::file_systems::{btrfs, ext4, tree};
use super::{Read, build, generate, limits, read, small_chunks};
use crate::memory::Memory;
use crate::noise::noise;

const BLOCK: usize = 4096;

/// `veritysetup format` of data: superblock and tree follow it.
pub(super) fn with_verity(mut image: Vec<u8>) -> Vec<u8> {
    const SALT: [u8; 32] = [0x5a; 32];
    image.resize(image.len().next_multiple_of(BLOCK), 0);
    let of_blocks = |level: &[u8]| {
        let hashes = level.chunks(BLOCK).flat_map(|block| {
            let mut block = block.to_vec();
            block.resize(BLOCK, 0);
            *Sha256Digest::of(&[&SALT[..], &block].concat()).as_bytes()
        });
        let mut hashes: Vec<u8> = hashes.collect();
        hashes.resize(hashes.len().next_multiple_of(BLOCK), 0);
        hashes
    };
    let mut levels = vec![of_blocks(&image)];
    while levels.last().unwrap().len() > BLOCK {
        levels.push(of_blocks(levels.last().unwrap()));
    }
    let mut superblock = vec![0; BLOCK];
    let fields: [(usize, &[u8]); 9] = [
        (0, b"verity\0\0"),
        (8, &1_u32.to_le_bytes()),
        (12, &1_u32.to_le_bytes()),
        (16, &[0x11; 4]),
        (32, b"sha256"),
        (64, &4096_u32.to_le_bytes()),
        (68, &4096_u32.to_le_bytes()),
        (72, &(image.len() as u64 / 4096).to_le_bytes()),
        (80, &32_u16.to_le_bytes()),
    ];
    for (at, field) in fields.into_iter().chain([(88, &SALT[..])]) {
        superblock[at..at + field.len()].copy_from_slice(field);
    }
    image.extend(superblock);
    levels.reverse();
    image.extend(levels.concat());
    image
}

/// Two hundred blocks, every third of them zero.
fn data() -> Vec<u8> {
    let block = |number: u8| vec![if number.is_multiple_of(3) { 0 } else { number }; BLOCK];
    (0..200_u8).flat_map(block).collect()
}

/// So that the tests below are about `veritysetup`: the image that it made of the same data, with
/// the same salt (cryptsetup 2.6.1).
#[test]
fn the_tree_here_is_that_of_veritysetup() {
    let mut image = with_verity(data());
    // The tool was given this one.
    image[200 * BLOCK + 16..][..16].copy_from_slice(&[
        0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55,
    ]);
    assert_eq!(
        Sha256Digest::of(&image).to_string(),
        "e121fa1eb0efa5c2b6184e47c635e04db50278b0ffe4b605a0527f0dc1066080"
    );
}

#[test]
fn a_hash_tree_is_computed_and_not_sent() {
    for data in [data(), ext4(&tree()), btrfs(&tree())] {
        let blocks = data.len() as u64 / 4096;
        let image = with_verity(data.clone());
        let (with, without) = (
            read(&generate(&image, &small_chunks())),
            read(&generate(&data, &small_chunks())),
        );
        let found = with.manifest.content().unwrap().verity_tree().unwrap();
        assert_eq!(found.data_blocks(), blocks);
        assert_eq!(
            found.blocks(),
            BlockRange::new(blocks + 1, image.len() as u64 / 4096).unwrap()
        );
        // The superblock is.
        assert!(
            with.data.len() < without.data.len() + 200,
            "{} {}",
            with.data.len(),
            without.data.len()
        );
        assert!(build(&with, None).unwrap().image == image);
        assert!(build(&with, Some(&data)).unwrap().image == image);
    }
}

/// The control: a tree that isn't what would be computed is content like any other.
#[test]
fn another_tree_is_sent() {
    let image = with_verity(data());
    for at in [8, 72, 4096, image.len() - 200 * BLOCK - 1] {
        let mut image = image.clone();
        image[200 * BLOCK + at] ^= 1;
        let read = read(&generate(&image, &small_chunks()));
        assert!(
            read.manifest.content().unwrap().verity_tree().is_none(),
            "byte {at}"
        );
        assert!(build(&read, None).unwrap().image == image, "byte {at}");
    }
    // Data that was changed makes another tree, too.
    let mut image = image;
    image[5 * BLOCK] ^= 1;
    let read = read(&generate(&image, &small_chunks()));
    assert!(read.manifest.content().unwrap().verity_tree().is_none());
    assert!(build(&read, None).unwrap().image == image);
}

pub(super) fn generate_with(image: &[u8], kernel: &[u8]) -> Vec<u8> {
    let (image_len, kernel_len) = (image.len() as u64, kernel.len() as u64);
    let (image, kernel) = (Memory::new(image.to_vec()), Memory::new(kernel.to_vec()));
    let image = Snapshot::new(image.as_ref(), image_len);
    let kernel = Snapshot::new(kernel.as_ref(), kernel_len);
    let (mut spool, mut out) = (std::io::Cursor::new(Vec::new()), Vec::new());
    let payload = ContentPayload::new(image).with_kernel(kernel);
    let written = payload.write(&small_chunks(), &mut spool, &mut out, &mut |_| {});
    written.unwrap();
    out
}

fn kernel_of(manifest: &Manifest) -> &Image {
    manifest.image(ImageKind::Kernel).unwrap()
}

/// Reads a payload whose kernel has no data, and gives the kernel that is built with the image.
fn built_kernel(read: &Read, image: &[u8]) -> Vec<u8> {
    let kernel = kernel_of(&read.manifest);
    let target = Memory::garbage(kernel.new.size);
    let copy = ContentCopy {
        start: kernel.content_start.unwrap(),
        len: kernel.new.size,
        target: target.clone(),
    };
    let tables = read.manifest.content().unwrap();
    let slot = Memory::garbage((image.len() as u64).next_multiple_of(4096));
    let builder = ContentBuilder::new(Arc::clone(tables), image.len() as u64, slot.clone());
    let mut builder = builder.with_copies(vec![copy]);
    let mut place = 0;
    while let Some((_, chunk)) = builder.due() {
        let packed_len = chunk.packed_len as usize;
        builder
            .take_packed(&read.data[place..place + packed_len])
            .unwrap();
        place += packed_len;
    }
    builder.finish().unwrap();
    assert!(slot.bytes()[..image.len()] == *image);
    target.bytes()
}

#[test]
fn a_kernel_that_the_image_holds_is_sent_once() {
    let kernels = ["lib/library", "lib/program"].map(|name| tree()[name].clone());
    let [library, _] = kernels.clone();
    let plain = [
        noise(8, 5 * BLOCK),
        vec![0; 3 * BLOCK],
        library.clone(),
        vec![0; BLOCK],
    ]
    .concat();
    let images = [
        ("plain", plain, &kernels[..1]),
        ("btrfs", btrfs(&tree()), &kernels[..]),
    ];
    for (name, image, kernels) in images {
        for kernel in kernels {
            let payload = generate_with(&image, kernel);
            let manifest = Manifest::parse(&manifest_of(&payload), MajorVersion::V2, &limits()).unwrap();
            let (len, operations) = (kernel.len(), kernel_of(&manifest).operations().count());
            assert_eq!(operations, 0, "{name}, {len} bytes");
            let read = read(&payload);
            assert_eq!(read.data.len() as u64, read.manifest.data_len());
            assert!(built_kernel(&read, &image) == *kernel, "{name}, {len} bytes");
        }
    }
}

/// A file that the kernel's btrfs has compressed is content as it was.
#[test]
fn a_kernel_in_compressed_extents_is_sent_once() {
    let image = crate::fixture::image("../content/btrfs-new.img");
    let whole = read(&generate(&image, &small_chunks()));
    let tables = whole.manifest.content().unwrap();
    // The content of the first extents that are encoded, one after the other, stands for a kernel.
    let encoded = tables
        .segments()
        .iter()
        .position(|segment| segment.encoder.is_some());
    let segments = &tables.segments()[encoded.unwrap()..][..2];
    assert!(segments.iter().all(|segment| segment.encoder.is_some()));
    let before = tables.segments()[..encoded.unwrap()].iter();
    let start: u64 = before.map(|segment| u64::from(segment.len)).sum();
    let len: u64 = segments.iter().map(|segment| u64::from(segment.len)).sum();
    let target = Memory::garbage(len);
    let copy = ContentCopy {
        start,
        len,
        target: target.clone(),
    };
    let slot = Memory::garbage(image.len() as u64);
    let builder = ContentBuilder::new(Arc::clone(tables), image.len() as u64, slot);
    let mut builder = builder.with_copies(vec![copy]);
    let mut place = 0;
    while let Some((_, chunk)) = builder.due() {
        let packed_len = chunk.packed_len as usize;
        builder
            .take_packed(&whole.data[place..place + packed_len])
            .unwrap();
        place += packed_len;
    }
    let kernel = target.bytes();
    let read = read(&generate_with(&image, &kernel));
    assert_eq!(kernel_of(&read.manifest).content_start, Some(start));
    assert!(built_kernel(&read, &image) == kernel);
}

/// The control: another kernel has operations, and data of its own.
#[test]
fn another_kernel_is_sent_whole() {
    let image = ext4(&tree());
    let mut kernel = tree()["lib/library"].clone();
    *kernel.last_mut().unwrap() ^= 1;
    let longer = [&tree()["lib/library"][..], &noise(9, 10)].concat();
    for kernel in [kernel, longer, vec![7; 5000]] {
        let payload = generate_with(&image, &kernel);
        let manifest = Manifest::parse(&manifest_of(&payload), MajorVersion::V2, &limits()).unwrap();
        assert_eq!(kernel_of(&manifest).content_start, None);
        assert!(kernel_of(&manifest).operations().next().is_some());
    }
}

fn manifest_of(payload: &[u8]) -> Vec<u8> {
    let len = u64::from_be_bytes(payload[12..20].try_into().unwrap());
    payload[24..24 + usize::try_from(len).unwrap()].to_vec()
}

/// Changes the bytes `from` of a manifest to as many others.
fn changed(payload: &[u8], from: &[u8], to: &[u8]) -> ManifestError {
    let mut manifest = manifest_of(payload);
    let mut places = manifest
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from);
    let (at, _) = places.next().unwrap();
    assert!(places.next().is_none(), "twice");
    manifest[at..at + to.len()].copy_from_slice(to);
    Manifest::parse(&manifest, MajorVersion::V2, &limits()).unwrap_err()
}

/// A varint of three bytes.
fn varint(number: u32) -> [u8; 3] {
    [0, 7, 14].map(|shift| {
        let bits = u8::try_from(number >> shift & 0x7f).unwrap();
        if shift < 14 { bits | 0x80 } else { bits }
    })
}

#[test]
fn a_kernel_past_the_content_is_refused() {
    let kernel = tree()["lib/library"].clone();
    let image = [noise(8, 5 * BLOCK), kernel.clone()].concat();
    let payload = generate_with(&image, &kernel);
    // Field 50002: the number of the first byte.
    let field = [&[0x90, 0xb5, 0x18][..], &varint(20_480)].concat();
    let refused = changed(
        &payload,
        &field,
        &[&[0x90, 0xb5, 0x18][..], &varint(30_000)].concat(),
    );
    let ManifestError::PastContent {
        image: ImageKind::Kernel,
        start: 30_000,
        size: 300_000,
        content,
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(content, (5 * BLOCK as u64) + 300_000_u64.next_multiple_of(4096));
}

#[test]
fn a_tree_over_what_segments_write_is_refused() {
    let payload = generate(&with_verity(data()), &small_chunks());
    // Of 200 blocks, from block 201 on.
    let field = [0x08, 0xc8, 0x01, 0x10, 0xc9, 0x01];
    let refused = changed(&payload, &field, &[0x08, 0xc8, 0x01, 0x10, 0xc8, 0x01]);
    assert_eq!(refused, ManifestError::Content(TablesError::Overlap(200)));
    let refused = changed(&payload, &field, &[0x08, 0xc8, 0x01, 0x10, 0xca, 0x01]);
    assert!(matches!(
        refused,
        ManifestError::Content(TablesError::Range {
            field: "tree_start",
            ..
        })
    ));
}
