//! Chunks of an image, compressed on all cores, in order, with bounded memory.
//!
//! Chunk *i* goes to worker *i* mod *n*, and results are taken from the workers in the same turn:
//! they come in order without a buffer to sort them. Each channel holds one item, which is the
//! memory bound.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::{Input, WriteError, compressor};
use crate::apply::Compression;
use crate::digest::{RunningHash, Sha256Digest};

/// Bytes of the input in one operation.
pub(super) const CHUNK: u64 = 1 << 20;

/// A chunk as it will lie in the payload.
pub(super) struct CompressedChunk {
    /// Operation type.
    pub(super) kind: i32,
    pub(super) data: Vec<u8>,
    pub(super) sha256: Sha256Digest,
    /// Bytes of the input that it stands for.
    pub(super) input_len: u64,
}

/// What may be spent on compressing, and how.
#[derive(Clone, Copy)]
pub(super) struct CompressionOptions<'a> {
    pub(super) threads: NonZeroUsize,
    pub(super) compressions: &'a [Compression],
}

/// All of an input.
pub(super) struct Whole {
    pub(super) len: u64,
    pub(super) sha256: Sha256Digest,
}

/// Reads `from` to its end and hands its chunks, compressed, to `sink` in their order.
pub(super) fn compress(
    input: Input,
    from: &mut (dyn Read + Send),
    options: CompressionOptions<'_>,
    sink: &mut dyn FnMut(CompressedChunk) -> Result<(), WriteError>,
) -> Result<Whole, WriteError> {
    thread::scope(|scope| {
        let (mut feeds, mut results) = (Vec::new(), Vec::new());
        for _ in 0..options.threads.get() {
            let (feed, chunks) = sync_channel(1);
            let (done, result) = sync_channel(1);
            scope.spawn(move || work(&chunks, &done, options.compressions));
            feeds.push(feed);
            results.push(result);
        }
        let feeder = scope.spawn(move || feed(from, &feeds));
        let collected = collect(input, &results, sink);
        // After an error in there workers and feeder are still at it: nobody listens any more, so
        // they end.
        drop(results);
        let fed = feeder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        collected?;
        fed.map_err(|source| WriteError::Read { input, source })
    })
}

fn feed(from: &mut (dyn Read + Send), feeds: &[SyncSender<Vec<u8>>]) -> io::Result<Whole> {
    let mut sha256 = RunningHash::default();
    let mut len = 0;
    for worker in feeds.iter().cycle() {
        let mut chunk = Vec::new();
        from.take(CHUNK).read_to_end(&mut chunk)?;
        sha256.update(&chunk);
        len += chunk.len() as u64;
        if chunk.is_empty() || worker.send(chunk).is_err() {
            break;
        }
    }
    Ok(Whole {
        len,
        sha256: sha256.value(),
    })
}

fn work(
    chunks: &Receiver<Vec<u8>>,
    done: &SyncSender<io::Result<CompressedChunk>>,
    compressions: &[Compression],
) {
    for chunk in chunks {
        if done.send(smallest(chunk, compressions)).is_err() {
            break;
        }
    }
}

fn collect(
    input: Input,
    results: &[Receiver<io::Result<CompressedChunk>>],
    sink: &mut dyn FnMut(CompressedChunk) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    for worker in results.iter().cycle() {
        let Ok(blob) = worker.recv() else { break };
        sink(blob.map_err(|source| WriteError::Compress { input, source })?)?;
    }
    Ok(())
}

/// The chunk in its smallest form.
fn smallest(chunk: Vec<u8>, compressions: &[Compression]) -> io::Result<CompressedChunk> {
    let input_len = chunk.len() as u64;
    let (kind, data) = compressor::smallest(chunk, compressions)?;
    let sha256 = Sha256Digest::of(&data);
    Ok(CompressedChunk {
        kind,
        data,
        sha256,
        input_len,
    })
}
