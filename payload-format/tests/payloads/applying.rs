//! Fixtures become the images that the original made of them.

use std::sync::Arc;

use payload_format::{
    Applier, Event, Finished, ImageKind, Limits, Manifest, OpId, ReadBlocks, Reader, Streamed,
};

use crate::fixture::{self, OLD_IMAGE, SLOT_LEN};
use crate::memory::Memory;

const KERNEL_LEN: u64 = 1 << 20;

/// Applies in payload order, on one thread.
pub(crate) struct Applying {
    pub(crate) slot: Arc<Memory>,
    pub(crate) kernel: Arc<Memory>,
    old: Option<Arc<Memory>>,
    appliers: Vec<(ImageKind, Applier)>,
    manifest: Option<Arc<Manifest>>,
    streamed: Option<Streamed>,
}

impl Applying {
    pub(crate) fn new(old: Option<&[u8]>) -> Self {
        Self {
            slot: Memory::garbage(SLOT_LEN),
            kernel: Memory::garbage(KERNEL_LEN),
            old: old.map(|old| Memory::new(old.to_vec())),
            appliers: Vec::new(),
            manifest: None,
            streamed: None,
        }
    }

    pub(crate) fn begin(&mut self, manifest: &Arc<Manifest>) {
        for image in manifest.images() {
            let target = match image.kind {
                ImageKind::Slot => Arc::clone(&self.slot),
                ImageKind::Kernel => Arc::clone(&self.kernel),
                ImageKind::PcrPolicy | ImageKind::ExtraPartition(_) => panic!("no fixture has one"),
            };
            let old = self.old.clone().map(|old| old as Arc<dyn ReadBlocks>);
            let applier = Applier::new(Arc::clone(manifest), image.kind, old, target).unwrap();
            self.appliers.push((image.kind, applier));
        }
        self.manifest = Some(Arc::clone(manifest));
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        self.manifest.as_ref().unwrap()
    }

    fn applier(&self, op: OpId) -> &Applier {
        let kind = self.manifest().operation(op).unwrap().image;
        &self.appliers.iter().find(|(image, _)| *image == kind).unwrap().1
    }

    pub(crate) fn event(&mut self, event: Event) {
        match event {
            Event::Metadata { manifest, .. } => self.begin(&manifest),
            Event::Operation { op, data } => self.applier(op).apply(op, &data).unwrap(),
            Event::Piece { op, data } => {
                let streamed = self.streamed.take();
                let mut streamed = streamed.unwrap_or_else(|| self.applier(op).stream(op).unwrap());
                streamed.write(&data).unwrap();
                self.streamed = Some(streamed);
            }
            Event::PiecesVerified { .. } => self.streamed.take().unwrap().finish().unwrap(),
            Event::Content { .. } => unreachable!("there are operations alone"),
        }
    }

    pub(crate) fn copy_unwritten(&self) {
        let manifest = self.manifest();
        for (kind, applier) in &self.appliers {
            for blocks in &manifest.image(*kind).unwrap().unwritten {
                applier.copy(*blocks).unwrap();
            }
        }
    }
}

fn apply(payload: &str, old: Option<&[u8]>, chunk: usize, limits: Limits) -> (Applying, Finished) {
    let mut applying = Applying::new(old);
    let reader = Reader::new(limits);
    let finished = fixture::read(&fixture::bytes(payload), chunk, reader, |event| {
        applying.event(event);
    });
    applying.copy_unwritten();
    (applying, finished.unwrap())
}

fn assert_new_image(slot: &Memory) {
    let image_len = fixture::image("new.img").len() as u64;
    assert_eq!(
        slot.sha256(image_len).to_string(),
        fixture::expected_sha256("new.img")
    );
}

const CHUNKS: [usize; 6] = [1, 3, 4096, 65_521, 1 << 20, usize::MAX];

#[test]
fn the_full_payload_becomes_the_new_image_and_kernel_in_any_chunks() {
    for chunk in CHUNKS {
        let (applied, _) = apply("full.payload", None, chunk, Limits::for_slot(SLOT_LEN));
        assert_new_image(&applied.slot);
        let kernel = fixture::bytes("vmlinuz-new");
        assert_eq!(
            applied.kernel.bytes()[..kernel.len()],
            kernel,
            "chunks of {chunk}"
        );
    }
}

#[test]
fn the_delta_becomes_the_new_image_in_any_chunks_without_a_copy_of_the_old_one() {
    for chunk in CHUNKS {
        let (applied, _) = apply(
            "delta.payload",
            Some(&OLD_IMAGE),
            chunk,
            Limits::for_slot(SLOT_LEN),
        );
        assert_new_image(&applied.slot);
    }
}

#[test]
fn data_too_large_to_be_held_streams_to_the_same_image() {
    let limits = Limits {
        whole_data: 0,
        ..Limits::for_slot(SLOT_LEN)
    };
    let (applied, _) = apply("full.payload", None, 70_000, limits);
    assert_new_image(&applied.slot);
}

#[test]
fn nothing_is_written_past_the_image() {
    let (applied, _) = apply("full.payload", None, 1 << 20, Limits::for_slot(SLOT_LEN));
    let image_len = fixture::image("new.img").len();
    assert!(applied.slot.bytes()[image_len..].iter().all(|byte| *byte == 0xa5));
}

#[test]
fn the_payloads_own_hash_is_told() {
    let payload = fixture::bytes("delta.payload");
    let (_, finished) = apply(
        "delta.payload",
        Some(&OLD_IMAGE),
        4096,
        Limits::for_slot(SLOT_LEN),
    );
    assert_eq!(
        finished.payload_sha256,
        payload_format::Sha256Digest::of(&payload)
    );
    assert_eq!(finished.payload_len, payload.len() as u64);
}
