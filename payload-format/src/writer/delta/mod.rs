//! Writing deltas: payloads of version 2 that build an image from an old one.
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
//! Where files are unknown, or have other names than before, the sketch finds what is similar; nothing rests on
//! names. Small regions share an operation, which costs some two hundred bytes by itself. Of a source, nodes read
//! only the blocks that the patch uses.
//!
//! The same images give the same bytes on any number of threads: what an operation is depends on the images
//! alone, and the order in which they were made is forgotten. Memory beside hashes and sketch (together some 100
//! bytes for each block of 4 KiB) is bounded by a budget; comparing takes five bytes for each one of a source.

mod blocks;
mod crew;
mod data;
mod encode;
mod encoder;
mod ext;
mod grain;
mod order;
mod origin;
mod patch;
mod region;

mod sketch;
mod survey;
mod task;

use std::cmp::Reverse;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;

use self::blocks::BlockList;
pub use self::blocks::Snapshot;
use self::crew::Crew;
use self::data::Data;
use self::encode::encode;
use self::encoder::Encoder;
use self::grain::Grain;
use self::order::Order;
use self::origin::{Index, Origin};
use self::region::Both;
use self::sketch::Sketch;
use self::survey::Survey;
use self::task::Task;
use super::press::Section;
use super::{Contents, Input, Signer, Summary, WriteError};
use crate::apply::Compression;
use crate::header::MajorVersion;
use crate::limits::Limits;
use crate::manifest::ManifestError;
use crate::operation::PatchKind;
use crate::partition::PartitionName;

/// Bytes of memory for all that is worked on at a time.
const MEMORY: u64 = 640 << 20;

/// A delta to be: what it leads from and to, and who signs it.
pub struct DeltaPayload<'a> {
    image: Pair<'a>,
    kernel: Option<Pair<'a>>,
    further: Vec<(PartitionName, Pair<'a>)>,
    signers: Vec<&'a dyn Signer>,
    threads: NonZeroUsize,
    compressions: Vec<Compression>,
    patches: Vec<PatchKind>,
    limits: Limits,
}

/// An image, and what it is made from.
#[derive(Clone, Copy)]
struct Pair<'a> {
    old: Option<Snapshot<'a>>,
    new: Snapshot<'a>,
}

/// What the parts of a [`Pair`] are called.
#[derive(Clone, Copy)]
struct Names {
    old: Input,
    new: Input,
}

impl<'a> DeltaPayload<'a> {
    /// A payload that makes `new` of `old` in another slot: unsigned, without kernel, on one thread, with all
    /// ways to compress.
    #[must_use]
    pub fn new(old: Snapshot<'a>, new: Snapshot<'a>) -> Self {
        Self {
            image: Pair { old: Some(old), new },
            kernel: None,
            further: Vec::new(),
            signers: Vec::new(),
            threads: NonZeroUsize::MIN,
            compressions: vec![Compression::Bzip2, Compression::Xz, Compression::Zstd],
            patches: vec![PatchKind::SourceBsdiff, PatchKind::BrotliBsdiff],
            limits: super::anywhere(),
        }
    }

    /// Adds the kernel file that belongs to the new image, as a delta if there is an old one: nodes then need
    /// exactly that one beside the old image.
    #[must_use]
    pub fn with_kernel(mut self, old: Option<Snapshot<'a>>, new: Snapshot<'a>) -> Self {
        self.kernel = Some(Pair { old, new });
        self
    }

    /// Adds a partition beside the slot, of a name not added before, as a delta if there is an old one: nodes then need
    /// exactly that one beside the old image.
    #[must_use]
    pub fn with_partition(
        mut self,
        name: PartitionName,
        old: Option<Snapshot<'a>>,
        new: Snapshot<'a>,
    ) -> Self {
        self.further.push((name, Pair { old, new }));
        self
    }

    /// Packs what is new in the smallest of these forms, or leaves it as it is.
    #[must_use]
    pub fn with_compressions(mut self, compressions: &[Compression]) -> Self {
        self.compressions = compressions.to_vec();
        self
    }

    /// Patches what is similar in the smallest of these forms, or not at all. [`PatchKind::Bsdiff`] is version 1's, and
    /// means [`PatchKind::SourceBsdiff`] here.
    #[must_use]
    pub fn with_patches(mut self, patches: &[PatchKind]) -> Self {
        self.patches = patches.to_vec();
        self
    }

    /// Adds a signature of metadata and payload. Any one by a key that nodes trust will do.
    #[must_use]
    pub fn with_signer(mut self, signer: &'a dyn Signer) -> Self {
        self.signers.push(signer);
        self
    }

    /// For nodes that read no more than this; unless told otherwise, with any slot and the limits that nodes have. Where
    /// the manifest would be more, parts of the image that share scattered blocks are packed whole.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Works on so many threads.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Writes the payload to `out`. `spool` is an empty file for as long as this takes; it will hold all
    /// of the payload's data. `progress` is told how many bytes of all new images are done; it may begin anew.
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
        for grain in Grain::ALL {
            spool.seek(SeekFrom::Start(0)).map_err(WriteError::Spool)?;
            match self.try_write(grain, spool, out, progress) {
                Err(error) if error.is_too_much() => refused = Some(error),
                written => return written,
            }
        }
        // There is more than one grain, and each was refused.
        Err(refused.unwrap_or(WriteError::TooLarge))
    }

    /// Nothing was written to `out` if the manifest is too much.
    fn try_write<S, W>(
        &self,
        grain: Grain,
        spool: &mut S,
        out: &mut W,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Summary, WriteError>
    where
        S: Read + Write + Seek,
        W: Write,
    {
        let mut order = Order::new(spool);
        let names = Names {
            old: Input::OldImage,
            new: Input::Image,
        };
        let image = self.section(&mut order, self.image, (names, grain), progress)?;
        let names = Names {
            old: Input::OldKernel,
            new: Input::Kernel,
        };
        let mut before = image.size;
        let kernel = self
            .kernel
            .map(|kernel| {
                self.section(&mut order, kernel, (names, grain), &mut |done| {
                    progress(before + done);
                })
            })
            .transpose()?;
        before += kernel.as_ref().map_or(0, |kernel| kernel.size);
        let mut further = Vec::with_capacity(self.further.len());
        for (name, pair) in &self.further {
            let names = Names {
                old: Input::OldFurther(*name),
                new: Input::Further(*name),
            };
            let mut progress = |done| progress(before + done);
            let section = self.section(&mut order, *pair, (names, grain), &mut progress)?;
            before += section.size;
            further.push((*name, section));
        }
        let pieces = order.into_pieces();
        let contents = Contents {
            version: MajorVersion::V2,
            limits: self.limits,
            image,
            kernel,
            further,
            signers: &self.signers,
        };
        contents.write(Data::new(spool, &pieces), out)
    }

    /// Makes the operations of one image.
    fn section(
        &self,
        order: &mut Order<'_>,
        pair: Pair<'_>,
        (names, grain): (Names, Grain),
        progress: &mut dyn FnMut(u64),
    ) -> Result<Section, WriteError> {
        let crew = Crew {
            threads: self.threads,
            memory: MEMORY,
        };
        let survey = |input, image: Snapshot<'_>| match image.len() {
            0 => Err(WriteError::Empty { input }),
            _ => Survey::of(&image, &crew).map_err(|source| WriteError::Read { input, source }),
        };
        let new = survey(names.new, pair.new)?;
        let old = pair.old.map(|old| survey(names.old, old)).transpose()?;
        let tasks = self.tasks(pair, (names, grain), (old.as_ref(), &new), &crew)?;
        let encoder = Encoder {
            old: pair.old,
            new: pair.new,
            compressions: &self.compressions,
            patches: &self.patches,
            grain,
        };
        let needs: Vec<u64> = tasks.iter().map(Task::memory).collect();
        let mut done = 0;
        crew.run(
            &needs,
            |task| (tasks[task].result(), encode(&encoder, &tasks[task])),
            |_, (bytes, operations)| {
                let input = names.new;
                let operations = operations.map_err(|source| WriteError::Compress { input, source })?;
                operations
                    .into_iter()
                    .try_for_each(|operation| order.put(operation))?;
                done += bytes;
                progress(done);
                Ok(())
            },
        )?;
        Ok(order.section(old.as_ref(), &new))
    }

    /// What is to be done, the largest tasks first.
    fn tasks(
        &self,
        pair: Pair<'_>,
        (names, grain): (Names, Grain),
        (old, new): (Option<&Survey>, &Survey),
        crew: &Crew,
    ) -> Result<Vec<Task>, WriteError> {
        let mut origins = Index::new(old.map_or(&[], |old| &old.blocks)).origins(&new.blocks);
        grain.coarsen(&mut origins);
        let mut tasks = match pair.old.filter(|_| !self.patches.is_empty()) {
            Some(old) => compared(old, pair.new, &mut origins, crew).map_err(|source| WriteError::Read {
                input: names.old,
                source,
            })?,
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
    crew: &Crew,
) -> io::Result<Vec<Task>> {
    let files = match (ext::files(&old)?, ext::files(&new)?) {
        (Some(old), Some(new)) => Some(Both { old, new }),
        _ => None,
    };
    let regions = region::regions(origins, files.as_ref());
    drop(files);
    let sketch = Sketch::of(&old, crew)?;
    let mut sources = vec![BlockList::default(); regions.len()];
    crew.run(
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

impl std::fmt::Debug for DeltaPayload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeltaPayload")
            .field("kernel", &self.kernel.is_some())
            .field("signers", &self.signers.len())
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
