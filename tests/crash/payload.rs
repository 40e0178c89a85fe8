//! Payloads of many small operations, so that an update of a small slot has many writes.

use std::io::Cursor;

use payload_format::ReadBlocks;
use payload_format::writer::{ContentOptions, ContentPayload, DeltaImage, DeltaPayload, RsaSigner, Snapshot};

use crate::draft::{BLOCK, Draft, bytes_of};
use test_support::fixtures;
use test_support::random::Random;

const BLOCKS: usize = 64;
const OEM_BLOCKS: usize = 12;

/// A payload, and what a slot and its kernel are once it is installed.
pub(crate) struct Payload {
    pub(crate) bytes: Vec<u8>,
    pub(crate) image: Vec<u8>,
    /// None: the running slot's kernel is copied.
    pub(crate) kernel: Option<Vec<u8>>,
    /// None: the extra partition stays as it is.
    pub(crate) oem: Option<Vec<u8>>,
    /// The content payload of the same, which lies beside it.
    pub(crate) content: Option<Vec<u8>>,
}

/// An image of which some parts compress.
pub(crate) fn image(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let block = |nth: usize| match nth % 4 {
        3 => vec![u8::try_from(nth).unwrap(); BLOCK],
        _ => random.bytes(BLOCK),
    };
    (0..BLOCKS).flat_map(block).collect()
}

/// A kernel: a whole number of blocks and a bit.
pub(crate) fn kernel(seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(5 * BLOCK + 100)
}

/// An image for the extra partition: it doesn't end with a block either.
pub(crate) fn oem(seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(OEM_BLOCKS * BLOCK - 30)
}

/// The partition that holds it, and more.
pub(crate) fn partition(oem: &[u8]) -> Vec<u8> {
    let mut partition = oem.to_vec();
    partition.resize(oem.len().next_multiple_of(BLOCK) + OEM_TAIL.len(), OEM_TAIL[0]);
    partition
}

/// What lies behind the image in the extra partition, and has to stay there.
pub(crate) const OEM_TAIL: [u8; BLOCK] = [0x77; BLOCK];

/// Writes every block of a new image, two apart from each other at a time.
pub(crate) fn full() -> Payload {
    let image = image(2);
    let mut draft = Draft::default();
    for nth in 0..BLOCKS / 4 {
        let extents = [(nth * 2, 2), (BLOCKS / 2 + nth * 2, 2)];
        draft.replace(&extents, &bytes_of(&image, &extents), nth % 4 == 1);
    }
    draft.version_1(None, image, Some(kernel(12)))
}

/// Works in place on `old`, with everything that makes resuming hard: blocks that are written, read
/// from the target and overwritten again, and operations that overwrite what they read.
pub(crate) fn delta(old: &[u8], kernel: Option<Vec<u8>>) -> Payload {
    let mut random = Random::new(3);
    let mut image = old.to_vec();
    let mut draft = Draft::default();
    for at in (0..BLOCKS).step_by(16) {
        draft.patch(&mut image, (at, 2), (at + 2, 2));
        draft.write(&mut image, (at + 4, 2), &random.bytes(2 * BLOCK));
        draft.copy(&mut image, (at + 4, 2), (at + 6, 2));
        // What the operation before read from the target.
        draft.write(&mut image, (at + 4, 2), &random.bytes(2 * BLOCK));
        draft.copy(&mut image, (at, 2), (at + 8, 2));
        draft.patch(&mut image, (at + 6, 2), (at + 10, 2));
        // Reads from the target what it overwrites.
        draft.copy(&mut image, (at + 8, 2), (at + 9, 2));
        draft.copy(&mut image, (at + 12, 1), (at, 1));
    }
    draft.version_1(Some(old), image, kernel)
}

/// The same image in version 2, packed in all ways that it has, and `oem` if there is one.
pub(crate) fn full_v2(oem: Option<Vec<u8>>) -> Payload {
    let image = image(2);
    let mut draft = Draft::default();
    for nth in 0..BLOCKS / 4 {
        let extents = [(nth * 2, 2), (BLOCKS / 2 + nth * 2, 2)];
        draft.pack(&extents, &bytes_of(&image, &extents), nth);
    }
    let mut images = vec![(None, image)];
    for image in [Some(kernel(12)), oem].into_iter().flatten() {
        draft.begin_next();
        for (nth, bytes) in image.chunks(2 * BLOCK).enumerate() {
            draft.pack(&[(nth * 2, bytes.len().div_ceil(BLOCK))], bytes, nth);
        }
        images.push((None, image));
    }
    draft.version_2(images)
}

/// A delta of version 2: reads only the old slot, block by block in another order; of the kernel as
/// well, and of the partition `old_oem` if there is one.
pub(crate) fn delta_v2(old: &[u8], old_kernel: &[u8], old_oem: Option<&[u8]>) -> Payload {
    let mut random = Random::new(4);
    let mut image = vec![0; old.len()];
    let mut draft = Draft::default();
    for at in (0..BLOCKS).step_by(16) {
        let from = (at + 16) % BLOCKS;
        draft.source_copy(old, &mut image, &[(from, 1), (at + 3, 1)], &[(at + 1, 2)]);
        draft.source_patch(old, &mut image, (from + 2, 2), (at + 3, 2), *b"BSDIFF40");
        draft.source_patch(old, &mut image, (at, 2), (at + 5, 2), *b"BSDF2\x01\x01\x01");
        draft.zero(&mut image, &[(at, 1), (at + 7, 1)]);
        for nth in 0..4 {
            let bytes = random.bytes(2 * BLOCK);
            image[(at + 8 + 2 * nth) * BLOCK..][..bytes.len()].copy_from_slice(&bytes);
            draft.pack(&[(at + 8 + 2 * nth, 2)], &bytes, nth);
        }
    }
    draft.begin_next();
    let mut kernel = kernel(12);
    draft.source_copy(old_kernel, &mut kernel, &[(2, 2)], &[(0, 2)]);
    draft.pack(&[(2, 4)], &kernel[2 * BLOCK..], 3);
    let mut images = vec![(Some(old), image), (Some(old_kernel), kernel)];
    images.extend(old_oem.map(|old| (Some(old), delta_of_oem(&mut draft, old))));
    draft.version_2(images)
}

/// Moves blocks of the partition, patches some, and brings others.
fn delta_of_oem(draft: &mut Draft, old: &[u8]) -> Vec<u8> {
    let mut image = oem(22);
    draft.begin_next();
    draft.source_copy(old, &mut image, &[(6, 2)], &[(0, 2)]);
    draft.source_patch(old, &mut image, (0, 2), (2, 2), *b"BSDIFF40");
    draft.source_copy(old, &mut image, &[(1, 1), (4, 1)], &[(4, 2)]);
    draft.zero(&mut image, &[(6, 1)]);
    for (nth, at) in (7..OEM_BLOCKS).enumerate() {
        let end = image.len().min((at + 1) * BLOCK);
        draft.pack(&[(at, 1)], &image[at * BLOCK..end], nth);
    }
    image
}

/// A delta by the product's own generator: to the image of [`delta_v2`], with blocks that moved.
pub(crate) fn generated_delta(old: &[u8], old_kernel: &[u8]) -> Payload {
    let Payload { image, kernel, .. } = delta_v2(old, old_kernel, None);
    let kernel = kernel.unwrap();
    let key = std::fs::read_to_string(fixtures::payload("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let (old, new) = (Image(old), Image(&image));
    let (old_kernel, new_kernel) = (Image(old_kernel), Image(&kernel));
    let mut bytes = Vec::new();
    DeltaPayload::new(old.snapshot(), new.snapshot())
        .with_kernel(DeltaImage {
            old: Some(old_kernel.snapshot()),
            new: new_kernel.snapshot(),
        })
        .with_signer(&signer)
        .write(&mut Cursor::new(Vec::new()), &mut bytes, &mut |_| {})
        .unwrap();
    Payload {
        bytes,
        image,
        kernel: Some(kernel),
        oem: None,
        content: None,
    }
}

/// A full payload of version 2, and its content payload, of which half is in `old`.
pub(crate) fn with_content(old: &[u8]) -> Payload {
    let mut image = image(2);
    let half = image.len() / 2;
    image[..half].copy_from_slice(&old[..half]);
    let mut draft = Draft::default();
    for nth in 0..BLOCKS / 2 {
        let extents = [(nth * 2, 2)];
        draft.pack(&extents, &bytes_of(&image, &extents), nth);
    }
    draft.begin_next();
    let kernel = kernel(12);
    for (nth, bytes) in kernel.chunks(2 * BLOCK).enumerate() {
        draft.pack(&[(nth * 2, bytes.len().div_ceil(BLOCK))], bytes, nth);
    }
    let key = std::fs::read_to_string(fixtures::payload("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let mut content = Vec::new();
    ContentPayload::new(Image(&image).snapshot())
        .with_kernel(Image(&kernel).snapshot())
        .with_signer(&signer)
        .write(
            &ContentOptions::default(),
            &mut Cursor::new(Vec::new()),
            &mut content,
            &mut |_| {},
        )
        .unwrap();
    Payload {
        content: Some(content),
        ..draft.version_2(vec![(None, image), (None, kernel)])
    }
}

struct Image<'a>(&'a [u8]);

impl Image<'_> {
    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(self, self.0.len() as u64)
    }
}

impl ReadBlocks for Image<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let bytes = self.0.get(at..at + buf.len());
        buf.copy_from_slice(bytes.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
