//! The encoder pool: threads that make blocks of content side by side, and one that writes these in
//! the order of the content.

use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::ContentError;
use super::batch_queue::{BatchQueue, BlockBatch, SegmentBatch};
use super::builder::padded;
use super::tables::{BLOCK, BLOCK_LEN, ContentTables, Segment};
use super::verity::{BlockHasher, TreeBuilder};
use super::zero_writer::ZeroWriter;
use crate::apply::WriteBlocks;

/// Bytes of content of one segment up to which several encoders run side by side: the most that
/// btrfs encodes. An encoder takes 3 MiB for that, and 20 MiB for the most that a segment may have.
const SIDE_BY_SIDE: u32 = 128 << 10;

/// Builds and writes segments that are handed to it in order, and zeros in between. All threads are gone, and nothing is
/// written any more, once it has ended or was dropped.
pub(super) struct EncoderPool {
    work: Arc<EncoderWork>,
    encoders: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<Result<Option<TreeBuilder>, ContentError>>>,
    /// Segments that aren't queued yet.
    batch: SegmentBatch,
}

/// What all threads share.
struct EncoderWork {
    tables: Arc<ContentTables>,
    hasher: Option<BlockHasher>,
    queue: BatchQueue,
}

impl EncoderPool {
    /// With `threads` encoders: fewer where one takes much memory.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        tables: &Arc<ContentTables>,
        target: Arc<dyn WriteBlocks>,
        zeros: ZeroWriter,
        threads: NonZeroUsize,
    ) -> io::Result<Self> {
        let tree = tables.verity_tree().map(TreeBuilder::new);
        let work = Arc::new(EncoderWork {
            tables: Arc::clone(tables),
            hasher: tree.as_ref().map(TreeBuilder::hasher),
            queue: BatchQueue::default(),
        });
        // Whatever is started already ends when this is dropped.
        let mut pool = Self {
            work: Arc::clone(&work),
            encoders: Vec::new(),
            writer: None,
            batch: SegmentBatch::default(),
        };
        for _ in 0..encoders(tables, threads) {
            let work = Arc::clone(&work);
            let thread = thread::Builder::new().name("encoder".to_owned());
            pool.encoders.push(thread.spawn(move || work.encode())?);
        }
        let thread = thread::Builder::new().name("blocks".to_owned());
        pool.writer = Some(thread.spawn(move || work.write(target.as_ref(), zeros, tree))?);
        Ok(pool)
    }

    /// Takes the next segment, of that number, with its content. False if an earlier one has failed:
    /// [`Self::end`] says how.
    pub(super) fn put(&mut self, number: usize, segment: Segment, content: &[u8]) -> bool {
        if self.batch.segments.is_empty() {
            self.batch.first = number;
        }
        self.batch.push(segment, content);
        !self.batch.is_full() || self.flush()
    }

    fn flush(&mut self) -> bool {
        let batch = mem::take(&mut self.batch);
        batch.segments.is_empty() || self.work.queue.give(batch)
    }

    /// Waits until everything is written, and gives the image's hash tree, if it has one.
    ///
    /// # Errors
    /// That of the first segment, in their order, that can't be built or written.
    pub(super) fn end(mut self) -> Result<Option<TreeBuilder>, ContentError> {
        self.flush();
        self.work.queue.close();
        self.join().unwrap_or(Ok(None))
    }

    /// What the writer has come to, unless that was given already.
    fn join(&mut self) -> Option<Result<Option<TreeBuilder>, ContentError>> {
        let mut panic = None;
        for encoder in self.encoders.drain(..) {
            panic = encoder.join().err().or(panic);
        }
        let written = self.writer.take().map(JoinHandle::join);
        let written = written.and_then(|written| written.map_err(|error| panic = Some(error)).ok());
        if let Some(panic) = panic.filter(|_| !thread::panicking()) {
            std::panic::resume_unwind(panic);
        }
        written
    }
}

impl Drop for EncoderPool {
    fn drop(&mut self) {
        self.work.queue.stop();
        self.join();
    }
}

/// How many encoders run side by side, of `threads`.
fn encoders(tables: &ContentTables, threads: NonZeroUsize) -> usize {
    let is_long = |segment: &Segment| segment.encoder.is_some() && segment.len > SIDE_BY_SIDE;
    if tables.segments().iter().any(is_long) {
        return 1;
    }
    threads.get()
}

impl EncoderWork {
    /// What each encoder does.
    fn encode(&self) {
        let _guard = self.queue.stopped_by_panic();
        while let Some((number, batch)) = self.queue.take_waiting() {
            let cost = batch.cost();
            let built = self.build(&batch);
            drop(batch);
            self.queue.put_built(number, cost, built);
        }
    }

    fn build(&self, batch: &SegmentBatch) -> BlockBatch {
        let mut built = BlockBatch::default();
        built.end = batch.first + batch.segments.len();
        let mut content = batch.content.as_slice();
        for (number, segment) in (batch.first..).zip(&batch.segments) {
            // Invariant: the batch has the content of all of its segments.
            let (here, rest) = content.split_at(content.len().min(segment.len as usize));
            content = rest;
            if let Err(error) = self.build_segment(number, segment, here, &mut built) {
                built.failure = Some(error);
                break;
            }
        }
        built
    }

    fn build_segment(
        &self,
        number: usize,
        segment: &Segment,
        content: &[u8],
        built: &mut BlockBatch,
    ) -> Result<(), ContentError> {
        let encoded = match segment.encoder {
            None => None,
            Some(index) => Some(self.encoded(number, (segment, index), content)?),
        };
        let blocks = encoded.as_deref().unwrap_or(content);
        let offset = segment.blocks.start() * BLOCK;
        match built.runs.last_mut() {
            Some((start, len)) if *start + *len as u64 == offset => *len += blocks.len(),
            _ => built.runs.push((offset, blocks.len())),
        }
        built.blocks.extend_from_slice(blocks);
        if let Some(hasher) = &self.hasher {
            let (blocks, _) = blocks.as_chunks::<BLOCK_LEN>();
            built.hashes.extend(blocks.iter().map(|block| hasher.hash(block)));
        }
        Ok(())
    }

    /// The blocks that a segment with an encoder writes.
    fn encoded(
        &self,
        number: usize,
        (segment, index): (&Segment, u8),
        content: &[u8],
    ) -> Result<Vec<u8>, ContentError> {
        let failed = |source| ContentError::Encoder {
            segment: number,
            source,
        };
        // Invariant: `ContentTables::parse` has checked the index.
        let encoder = self.tables.encoders.get(usize::from(index));
        let encoder = encoder.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
        let frame = encoder.encode(content).map_err(failed)?;
        padded(frame, segment.blocks).map_err(|(found, room)| ContentError::Encode {
            segment: number,
            found,
            room,
        })
    }

    /// What the writer does.
    fn write(
        &self,
        target: &dyn WriteBlocks,
        mut zeros: ZeroWriter,
        mut tree: Option<TreeBuilder>,
    ) -> Result<Option<TreeBuilder>, ContentError> {
        let _guard = self.queue.stopped_by_panic();
        let (mut number, all) = (0, self.tables.segments.len());
        while let Some(mut batch) = self.queue.take_built(number) {
            let written = write_batch(&mut batch, target, tree.as_mut());
            // In between, not in the end: the medium would wait for encoders, and then they for it.
            let written = written.and_then(|()| zeros.write_part(target, (batch.end, all)));
            if written.is_err() {
                // Nobody waits for what nobody will write.
                self.queue.stop();
            }
            written?;
            self.queue.written(batch);
            number += 1;
        }
        Ok(tree)
    }
}

fn write_batch(
    batch: &mut BlockBatch,
    target: &dyn WriteBlocks,
    mut tree: Option<&mut TreeBuilder>,
) -> Result<(), ContentError> {
    let (mut blocks, mut hashes) = (batch.blocks.as_slice(), batch.hashes.as_slice());
    for (offset, len) in batch.runs.iter().copied() {
        // Invariant: the blocks are those of all runs.
        let (here, rest) = blocks.split_at(len.min(blocks.len()));
        blocks = rest;
        let written = target.write_at(here, offset);
        written.map_err(|source| ContentError::Write { offset, source })?;
        let (of_here, rest) = hashes.split_at(hashes.len().min(len / BLOCK_LEN));
        hashes = rest;
        if let Some(tree) = &mut tree {
            tree.put_hashes(offset / BLOCK, of_here);
        }
    }
    batch.failure.take().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::apply::ReadBlocks;
    use crate::block::BlockRange;
    use crate::content::{ChunkerParams, ContentEncoder};

    /// Notes what is written, and fails at one place.
    #[derive(Default)]
    struct Noted {
        writes: Mutex<Vec<(u64, Vec<u8>)>>,
        fails_at: Option<u64>,
        panics: bool,
    }

    impl ReadBlocks for Noted {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    impl WriteBlocks for Noted {
        fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
            assert!(!self.panics, "a target that panics");
            if self.fails_at == Some(offset) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.writes.lock().unwrap().push((offset, buf.to_vec()));
            Ok(())
        }
    }

    /// Segments of 16 blocks of content, of which each takes one block encoded, with a block of zeros
    /// after each; but those in `broken`, whose content doesn't fit in.
    fn tables(count: usize, broken: &[usize]) -> (Arc<ContentTables>, Vec<Vec<u8>>) {
        let noise = |seed: u32| {
            (0..16_384_u32).map(move |at| (at ^ seed).wrapping_mul(2_654_435_761).rotate_left(at))
        };
        let content = |number: usize| match u32::try_from(number) {
            Ok(seed) if broken.contains(&number) => noise(seed).flat_map(u32::to_le_bytes).collect(),
            _ => format!("segment {number}, ").repeat(6000).into_bytes()[..65_536].to_vec(),
        };
        let segments = (0..count as u64).map(|number| Segment {
            blocks: BlockRange::new(number * 2, number * 2 + 1).unwrap(),
            len: 65_536,
            encoder: Some(0),
        });
        let tables = ContentTables {
            chunker: ChunkerParams::new(64, 9, 4096).unwrap(),
            prefix_len: 0,
            encoders: vec![ContentEncoder::BtrfsZstd { level: 3 }],
            chunks: Vec::new(),
            segments: segments.collect(),
            verity_tree: None,
            predecessors: Vec::new(),
            data_len: 0,
        };
        (Arc::new(tables), (0..count).map(content).collect())
    }

    /// Hands all segments on, as far as they are taken.
    fn run(
        (tables, contents): &(Arc<ContentTables>, Vec<Vec<u8>>),
        target: &Arc<Noted>,
        threads: usize,
    ) -> Result<(), ContentError> {
        let threads = NonZeroUsize::new(threads).unwrap();
        let mut pool = {
            let zeros = ZeroWriter::new(Vec::new());
            EncoderPool::start(tables, Arc::clone(target) as Arc<dyn WriteBlocks>, zeros, threads).unwrap()
        };
        for (number, (segment, content)) in tables.segments.iter().zip(contents).enumerate() {
            if !pool.put(number, *segment, content) {
                break;
            }
        }
        let ended = pool.end();
        assert_eq!(Arc::strong_count(target), 1, "a thread is still there");
        ended.map(|_| ())
    }

    #[test]
    fn however_many_encode_the_same_is_written_in_the_same_order() {
        let work = tables(600, &[]);
        let written = [1, 2, 3, 8].map(|threads| {
            let target = Arc::new(Noted::default());
            run(&work, &target, threads).unwrap();
            std::mem::take(&mut *target.writes.lock().unwrap())
        });
        let offsets = written[0].iter().map(|(offset, _)| *offset);
        assert!(offsets.eq((0..600).map(|number| number * 8192)));
        let encoder = work.0.encoders[0];
        for ((_, blocks), content) in written[0].iter().zip(&work.1) {
            let range = BlockRange::new(0, 1).unwrap();
            assert!(*blocks == padded(encoder.encode(content).unwrap(), range).unwrap());
        }
        assert!(written.iter().all(|other| *other == written[0]));
    }

    #[test]
    fn the_first_segment_that_fails_is_the_error_and_nothing_behind_it_is_written() {
        // The second one is so far behind that it is built at the same time, or not at all.
        let work = tables(600, &[333, 334, 360, 599]);
        for threads in [1, 2, 3, 8] {
            let target = Arc::new(Noted::default());
            let error = run(&work, &target, threads).unwrap_err();
            assert!(
                matches!(
                    error,
                    ContentError::Encode {
                        segment: 333,
                        room: 4096,
                        ..
                    }
                ),
                "{error}"
            );
            let written = target.writes.lock().unwrap();
            assert!(
                written
                    .iter()
                    .map(|(offset, _)| *offset)
                    .eq((0..333).map(|number| number * 8192))
            );
        }
    }

    #[test]
    fn a_target_that_fails_ends_it_before_any_later_error() {
        let work = tables(600, &[334]);
        for threads in [1, 2, 3, 8] {
            let target = Arc::new(Noted {
                fails_at: Some(100 * 8192),
                ..Noted::default()
            });
            let error = run(&work, &target, threads).unwrap_err();
            assert!(
                matches!(error, ContentError::Write { offset: 819_200, .. }),
                "{error}"
            );
            assert_eq!(target.writes.lock().unwrap().len(), 100);
        }
    }

    #[test]
    fn a_pool_that_is_dropped_writes_no_more() {
        let (tables, contents) = tables(600, &[]);
        let target = Arc::new(Noted::default());
        let threads = NonZeroUsize::new(3).unwrap();
        let mut pool = EncoderPool::start(
            &tables,
            Arc::clone(&target) as Arc<dyn WriteBlocks>,
            ZeroWriter::new(Vec::new()),
            threads,
        )
        .unwrap();
        for (number, content) in contents.iter().enumerate().take(500) {
            assert!(pool.put(number, tables.segments[number], content));
        }
        drop(pool);
        assert_eq!(Arc::strong_count(&target), 1);
    }

    /// Who calls would wait for room for ever.
    #[test]
    fn a_panic_of_one_thread_ends_all() {
        let work = tables(2000, &[]);
        let target = Arc::new(Noted {
            panics: true,
            ..Noted::default()
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&work, &target, 2)));
        assert!(ended.is_err());
        assert_eq!(Arc::strong_count(&target), 1);
    }

    #[test]
    fn segments_longer_than_those_of_btrfs_have_one_encoder() {
        let (tables, _) = tables(3, &[]);
        let four = NonZeroUsize::new(4).unwrap();
        assert_eq!(encoders(&tables, four), 4);
        let mut long = ContentTables::clone(&tables);
        long.segments[1].len = SIDE_BY_SIDE + 1;
        assert_eq!(encoders(&long, four), 1);
        long.segments[1].encoder = None;
        assert_eq!(encoders(&long, four), 4);
    }
}
