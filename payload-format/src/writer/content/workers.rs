//! The workers that pack chunks: batches of them, on all cores, in order, with bounded memory.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::feeder::{Feeder, FoundContent};
use super::{ContentOptions, ImageParts};
use crate::content::{self, Chunk, ChunkHash};
use crate::writer::{Input, Snapshot, WriteError};

/// Content that a worker packs at a time, in bytes.
const BATCH: usize = 1 << 20;

/// Chunks that follow each other.
pub(super) struct Batch {
    /// What stands before the first, and then all of them.
    content: Vec<u8>,
    prefix_len: usize,
    /// Bytes of the image that all content up to its end was found in.
    image_len: u64,
    /// Bytes of each.
    lengths: Vec<usize>,
}

/// A batch, packed.
pub(super) struct PackedBatch {
    pub(super) chunks: Vec<Chunk>,
    pub(super) data: Vec<u8>,
    /// Bytes of the image that are done with it.
    pub(super) image_len: u64,
}

/// Batch *i* goes to worker *i* mod *n*, and results are taken from the workers in the same turn.
pub(super) fn pack(
    (image, parts): (Snapshot<'_>, &ImageParts),
    options: &ContentOptions,
    threads: NonZeroUsize,
    sink: &mut dyn FnMut(PackedBatch) -> Result<(), WriteError>,
) -> Result<FoundContent, WriteError> {
    let input = Input::Image;
    thread::scope(|scope| {
        let (mut feeds, mut results) = (Vec::new(), Vec::new());
        for _ in 0..threads.get() {
            let (feed, batches) = sync_channel::<Batch>(1);
            let (done, result) = sync_channel(1);
            scope.spawn(move || work(&batches, &done, *options));
            feeds.push(feed);
            results.push(result);
        }
        let batches = Batches::new(options.prefix_len, feeds);
        let feeder = scope.spawn(move || Feeder::new(*options, parts, batches).feed(image));
        let collected = collect(&results, sink);
        drop(results);
        let fed = feeder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        collected?;
        fed.map_err(|source| WriteError::Read { input, source })
    })
}

fn collect(
    results: &[Receiver<io::Result<PackedBatch>>],
    sink: &mut dyn FnMut(PackedBatch) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let input = Input::Image;
    for worker in results.iter().cycle() {
        let Ok(packed) = worker.recv() else { break };
        sink(packed.map_err(|source| WriteError::Compress { input, source })?)?;
    }
    Ok(())
}

fn work(batches: &Receiver<Batch>, done: &SyncSender<io::Result<PackedBatch>>, options: ContentOptions) {
    for batch in batches {
        if done.send(pack_batch(&batch, options)).is_err() {
            break;
        }
    }
}

fn pack_batch(batch: &Batch, options: ContentOptions) -> io::Result<PackedBatch> {
    let mut packed = PackedBatch {
        chunks: Vec::with_capacity(batch.lengths.len()),
        data: Vec::new(),
        image_len: batch.image_len,
    };
    let mut compressor = content::Packer::new(&batch.content, options.prefix_len, options.level)?;
    let mut at = batch.prefix_len;
    for len in &batch.lengths {
        let chunk = &batch.content[at..at + len];
        let form = compressor.pack(at..at + len)?;
        packed.data.extend_from_slice(&form);
        // Invariant: a chunk has 32 bits at most, by the chunker's parameters.
        let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        packed.chunks.push(Chunk {
            hash: ChunkHash::of(chunk),
            len: length(*len),
            packed_len: length(form.len()),
        });
        at += len;
    }
    Ok(packed)
}

/// Collects chunks into batches, and hands these to the workers in turn.
pub(super) struct Batches {
    prefix_len: usize,
    batch: Batch,
    feeds: Vec<SyncSender<Batch>>,
    /// The worker that is due.
    next: usize,
}

impl Batches {
    fn new(prefix_len: u32, feeds: Vec<SyncSender<Batch>>) -> Self {
        Self {
            prefix_len: prefix_len as usize,
            batch: Batch {
                content: Vec::new(),
                prefix_len: 0,
                image_len: 0,
                lengths: Vec::new(),
            },
            feeds,
            next: 0,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.batch.content.extend_from_slice(chunk);
        self.batch.lengths.push(chunk.len());
        if self.batch.content.len() - self.batch.prefix_len < BATCH {
            return Ok(());
        }
        self.flush()
    }

    /// Counts blocks that content was found in.
    pub(super) fn count(&mut self, image_len: u64) {
        self.batch.image_len += image_len;
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.batch.lengths.is_empty() {
            return Ok(());
        }
        let content = &self.batch.content;
        let prefix = content[content.len().saturating_sub(self.prefix_len)..].to_vec();
        let next = Batch {
            prefix_len: prefix.len(),
            content: prefix,
            image_len: self.batch.image_len,
            lengths: Vec::new(),
        };
        let batch = std::mem::replace(&mut self.batch, next);
        let feed = self.next;
        self.next = (feed + 1) % self.feeds.len();
        // Nobody listens any more after an error elsewhere, which is told instead.
        self.feeds[feed]
            .send(batch)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
