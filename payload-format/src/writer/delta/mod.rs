//! The writer of deltas: payloads of version 2 that build an image from an old one.
//!
//! ```text
//!  old ─▶ hash of each block ─┐                      zeros ──────────────────────────────▶ ZERO
//!                             ├─▶ each new block is  an old one, from wherever it was ───▶ SOURCE_COPY
//!  new ─▶ hash of each block ─┘                      fresh ─┐
//!                                                           ▼
//!  files (ext2, 3, 4) ───────────────────────▶ regions: a file, or neighbours
//!  old ─▶ sketch: a hash of some places ──▶ votes ──▶ source: the same file, and what has most in common
//!                                                           │           nothing
//!            bsdiff ◀───────────────────────────────────────┘             │
//!  the smallest of SOURCE_BSDIFF, BROTLI_BSDIFF, REPLACE_*        the smallest of REPLACE_*
//!
//!  operations, each made by some thread ──▶ spool ──▶ in the order of the blocks they write ──▶ payload
//! ```
//!
//! Where files are unknown, or have other names than before, the sketch finds what is similar;
//! nothing rests on names. Small regions share an operation, which costs some two hundred bytes by
//! itself. Of a source, nodes read only the blocks that the patch uses.
//!
//! The same images give the same bytes on any number of threads: what an operation is depends on
//! the images alone, and the order in which they were made is forgotten. Memory beside hashes and
//! sketch (together some 100 bytes for each block of 4 KiB) is bounded by a budget; comparing takes
//! five bytes for each one of a source.

mod block_hashes;
mod blocks;
mod encoder;
mod ext;
mod granularity;
mod origin;
mod patch;
mod region;
mod sketch;
mod spool;
mod task;
mod worker_pool;

use std::cmp::Reverse;
use std::io::{self, Read, Seek, SeekFrom, Write};

use self::block_hashes::BlockHashes;
use self::blocks::BlockList;
pub use self::blocks::Snapshot;
use self::encoder::{Encoded, Encoder};
pub use self::ext::ImageFiles;
use self::granularity::Granularity;
use self::origin::{Index, Origin};
use self::patch::Patcher;
use self::region::Both;
use self::sketch::Sketch;
use self::spool::{OperationSpool, SpoolReader};
use self::task::Task;
pub(super) use self::worker_pool::WorkerPool;
use super::section::Section;
use super::{Contents, DeltaImage, DeltaPayload, Input, Summary, WriteError};
use crate::apply::Compression;
use crate::digest::Sha256Digest;
use crate::header::MajorVersion;
use crate::limits::Limits;
use crate::manifest::ManifestError;
use crate::operation::PatchKind;
use crate::wire;

/// Bytes of memory for all that is worked on at a time.
const MEMORY: u64 = 640 << 20;

/// What the parts of a [`DeltaImage`] are called.
#[derive(Clone, Copy)]
struct Names {
    old: Input,
    new: Input,
}

impl<'a> DeltaPayload<'a> {
    /// A payload of version 2 that makes `new` of `old` in another slot: unsigned, without kernel,
    /// on one thread, with all ways to compress and to patch.
    #[must_use]
    pub fn new(old: Snapshot<'a>, new: Snapshot<'a>) -> Self {
        let old = Some(old);
        Self {
            version: MajorVersion::V2,
            compressions: vec![Compression::Bzip2, Compression::Xz, Compression::Zstd],
            patches: vec![PatchKind::SourceBsdiff, PatchKind::BrotliBsdiff],
            ..Self::of(DeltaImage { old, new })
        }
    }

    /// Patches what is similar in the smallest of these forms, or not at all. [`PatchKind::Bsdiff`]
    /// is version 1's, and means [`PatchKind::SourceBsdiff`] here.
    #[must_use]
    pub fn with_patches(mut self, patches: &[PatchKind]) -> Self {
        self.patches = patches.to_vec();
        self
    }

    /// For nodes that read no more than this; unless told otherwise, with any slot and the limits
    /// that nodes have. Where the manifest would be more, parts of the image that share scattered
    /// blocks are packed whole.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Writes the payload to `out`. `spool` is an empty file for as long as this takes; it will
    /// hold all of the payload's data. `progress` is told how many bytes of all new images are
    /// done; it may begin anew.
    ///
    /// # Errors
    /// [`WriteError`]; `out` then holds nothing of use.
    pub fn write<S, W>(
        self,
        spool: &mut S,
        out: &mut W,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Summary, WriteError>
    where
        S: Read + Write + Seek,
        W: Write,
    {
        let mut refused = None;
        for granularity in Granularity::ALL {
            spool.seek(SeekFrom::Start(0)).map_err(WriteError::Spool)?;
            match self.try_write(granularity, spool, out, progress) {
                Err(error) if error.is_too_much() => refused = Some(error),
                written => return written,
            }
        }
        // There is more than one granularity, and each was refused.
        Err(refused.unwrap_or(WriteError::TooLarge))
    }

    /// Nothing was written to `out` if the manifest is too much.
    fn try_write<S, W>(
        &self,
        granularity: Granularity,
        spool: &mut S,
        out: &mut W,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Summary, WriteError>
    where
        S: Read + Write + Seek,
        W: Write,
    {
        let mut spooled = OperationSpool::new(spool);
        let names = Names {
            old: Input::OldImage,
            new: Input::Image,
        };
        let image = self.section(&mut spooled, self.image, (names, granularity), progress)?;
        let names = Names {
            old: Input::OldKernel,
            new: Input::Kernel,
        };
        let mut before = image.size;
        let kernel = self
            .kernel
            .map(|kernel| {
                self.section(&mut spooled, kernel, (names, granularity), &mut |done| {
                    progress(before + done);
                })
            })
            .transpose()?;
        before += kernel.as_ref().map_or(0, |kernel| kernel.size);
        let mut extra_partitions = Vec::with_capacity(self.extra_partitions.len());
        for (name, pair) in &self.extra_partitions {
            let names = Names {
                old: Input::OldExtraPartition(*name),
                new: Input::ExtraPartition(*name),
            };
            let mut progress = |done| progress(before + done);
            let section = self.section(&mut spooled, *pair, (names, granularity), &mut progress)?;
            before += section.size;
            extra_partitions.push((*name, section));
        }
        let pieces = spooled.into_pieces();
        let contents = Contents {
            version: MajorVersion::V2,
            limits: self.limits,
            image,
            kernel,
            extra_partitions,
            release: self.release.clone(),
            signers: &self.signers,
        };
        contents.write(SpoolReader::new(spool, &pieces), out)
    }

    /// Makes the operations of one image.
    fn section(
        &self,
        spooled: &mut OperationSpool<'_>,
        pair: DeltaImage<'_>,
        (names, granularity): (Names, Granularity),
        progress: &mut dyn FnMut(u64),
    ) -> Result<Section, WriteError> {
        let workers = WorkerPool {
            threads: self.threads,
            memory: MEMORY,
        };
        let hashes = |input, image: Snapshot<'_>| match image.len() {
            0 => Err(WriteError::Empty { input }),
            _ => BlockHashes::of(&image, &workers).map_err(|source| WriteError::Read { input, source }),
        };
        let new = hashes(names.new, pair.new)?;
        let old = pair.old.map(|old| hashes(names.old, old)).transpose()?;
        let tasks = self.tasks(pair, (names, granularity), (old.as_ref(), &new), &workers)?;
        let encoder = Encoder {
            old: pair.old,
            new: pair.new,
            compressions: &self.compressions,
            patches: &self.patches,
            granularity,
        };
        let needs: Vec<u64> = tasks.iter().map(Task::memory).collect();
        let mut done = 0;
        workers.run(
            &needs,
            |task| (tasks[task].result(), encode(&encoder, &tasks[task])),
            |_, (bytes, operations)| {
                let input = names.new;
                let operations = operations.map_err(|source| WriteError::Compress { input, source })?;
                operations
                    .into_iter()
                    .try_for_each(|operation| spooled.put(operation))?;
                done += bytes;
                progress(done);
                Ok(())
            },
        )?;
        Ok(spooled.section(old.as_ref(), &new))
    }

    /// What is to be done, the largest tasks first.
    fn tasks(
        &self,
        pair: DeltaImage<'_>,
        (names, granularity): (Names, Granularity),
        (old, new): (Option<&BlockHashes>, &BlockHashes),
        workers: &WorkerPool,
    ) -> Result<Vec<Task>, WriteError> {
        let mut origins = Index::new(old.map_or(&[], |old| &old.blocks)).origins(&new.blocks);
        granularity.coarsen(&mut origins);
        let mut tasks = match pair.old.filter(|_| !self.patches.is_empty()) {
            Some(old) => {
                compared(old, pair.new, &mut origins, workers).map_err(|source| WriteError::Read {
                    input: names.old,
                    source,
                })?
            }
            None => task::fresh([(origin::fresh(&origins), BlockList::default())]),
        };
        tasks.extend(task::unchanged(&origins));
        tasks.extend(task::whole(&origins));
        // Known before the work is done.
        if tasks.iter().map(Task::extents).sum::<usize>() > self.limits.extents {
            return Err(WriteError::Refused(ManifestError::TooManyExtents(
                self.limits.extents,
            )));
        }
        tasks.sort_by_key(|task| Reverse(task.memory()));
        Ok(tasks)
    }
}

/// What is made of fresh blocks where there is an old image to compare them with.
fn compared(
    old: Snapshot<'_>,
    new: Snapshot<'_>,
    origins: &mut [Origin],
    workers: &WorkerPool,
) -> io::Result<Vec<Task>> {
    let files = match (ext::files(&old)?, ext::files(&new)?) {
        (Some(old), Some(new)) => Some(Both { old, new }),
        _ => None,
    };
    let regions = region::regions(origins, files.as_ref());
    drop(files);
    let sketch = Sketch::of(&old, workers)?;
    let mut sources = vec![BlockList::default(); regions.len()];
    workers.run(
        &vec![0; regions.len()],
        |region| regions[region].source(&old, &new, &sketch),
        |region, source: io::Result<_>| {
            sources[region] = source?;
            Ok::<_, io::Error>(())
        },
    )?;
    let blocks = regions.into_iter().map(|region| region.blocks);
    Ok(task::fresh(blocks.zip(sources)))
}

/// The operations of a task.
fn encode(encoder: &Encoder<'_>, task: &Task) -> io::Result<Vec<Encoded>> {
    Ok(match task {
        Task::Zero(destination) => vec![Encoded::new(wire::ZERO, destination, Vec::new())],
        Task::Copy { source, destination } => {
            let content = destination.read(&encoder.new)?;
            let copy = Encoded::new(wire::SOURCE_COPY, destination, Vec::new());
            vec![copy.with_source(source, &Sha256Digest::of(&content))]
        }
        Task::Pack(destination) => {
            let content = destination.read(&encoder.new)?;
            vec![encoder.packed(destination, content)?]
        }
        Task::Patch { source, parts } => Patcher::read(encoder, source)?.encode(parts)?,
    })
}
