//! The writer of content payloads: finds the content of an image, cuts it into chunks and packs
//! them.
//!
//! ```text
//!              one thread                            all cores          in order
//!  image ─▶ scan ─▶ encoders tried ─▶ segments
//!                         └─▶ content ─▶ chunker ─▶ batches ─▶ packed ─▶ spool, chunks
//! ```
//!
//! A segment has an encoder only if that made its blocks bit for bit; else its content is the
//! blocks themselves. So a payload can't make another image than this one, whoever wrote the image.
//! The same image gives the same bytes on any number of threads.

mod feeder;
mod kernel;
mod old_sketch;
mod patches;
mod workers;

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;

use self::kernel::KernelPlace;
use self::patches::PackedImage;
use super::chunk::CompressionOptions;
use super::delta::Snapshot;
use super::section::{Section, SectionBuilder};
use super::{ContentPayload, Contents, Input, Summary, WriteError};
use crate::block::BlockRange;
use crate::content::{self, ChunkerParams, ContentTables, TablesError, VerityTree};
use crate::digest::{RunningHash, Sha256Digest};
use crate::header::MajorVersion;
use crate::limits::Limits;
use crate::manifest::ManifestError;
use crate::partition::PartitionName;

/// Bytes of the image that are hashed at a time.
const PIECE: u64 = 1 << 20;

/// How the content of a [`ContentPayload`] is cut and packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentOptions {
    /// Where chunks end.
    pub chunker: ChunkerParams,
    /// Bytes of content before a chunk that its packed form refers back to.
    pub prefix_len: u32,
    /// Level of zstd that chunks are packed with.
    pub level: i32,
}

impl Default for ContentOptions {
    /// Each chunk has the prefix looked through anew: level 16 takes eight times as long as 9, for
    /// 4 % less, and higher ones find nothing more. Without the prefix chunks take 4 to 7 % more.
    fn default() -> Self {
        Self {
            chunker: ChunkerParams::DEFAULT,
            prefix_len: 128 << 10,
            level: 9,
        }
    }
}

impl<'a> ContentPayload<'a> {
    /// A content payload of version 2 that makes `image`: unsigned, without kernel, on one thread.
    #[must_use]
    pub fn new(image: Snapshot<'a>) -> Self {
        let mut payload = Self::of(image);
        payload.version = MajorVersion::V2;
        payload.limits = Limits {
            content_payloads: true,
            ..payload.limits
        };
        payload
    }

    /// Adds patches for nodes that run this old image: at most [`crate::Predecessor::MAX`].
    #[must_use]
    pub fn with_predecessor(mut self, image: Snapshot<'a>) -> Self {
        self.predecessors.push(image);
        self
    }

    /// Writes the payload to `out`; of the rest as [`super::FullPayload::write`]. `progress` is
    /// told bytes of all images.
    ///
    /// # Errors
    /// [`WriteError`]; `out` then holds nothing of use.
    pub fn write<S, W>(
        self,
        options: &ContentOptions,
        spool: &mut S,
        out: &mut W,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Summary, WriteError>
    where
        S: Read + Write + Seek,
        W: Write,
    {
        let mut parts = ImageParts::find(self.image, self.kernel)?;
        let mut sections = self.sections(options, &parts, spool, progress)?;
        let is_kernel_lost = |sections: &Sections| {
            let kernel = sections.kernel.as_ref();
            kernel.is_some_and(|kernel| kernel.content_start.is_none() && kernel.operations.is_empty())
        };
        if is_kernel_lost(&sections) {
            // Some of its extents can't be encoded, so the blocks are content in place of the file.
            parts.kernel = None;
            spool.seek(SeekFrom::Start(0)).map_err(WriteError::Spool)?;
            sections = self.sections(options, &parts, spool, progress)?;
        }
        spool.seek(SeekFrom::Start(0)).map_err(WriteError::Spool)?;
        let contents = Contents {
            version: self.version,
            limits: self.limits,
            image: sections.image,
            kernel: sections.kernel,
            extra_partitions: sections.extra_partitions,
            release: self.release,
            signers: &self.signers,
        };
        contents.write(spool, out)
    }

    /// Makes the sections of all images, of which the spool holds the data.
    fn sections(
        &self,
        options: &ContentOptions,
        parts: &ImageParts,
        spool: &mut impl Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Sections, WriteError> {
        let compression = CompressionOptions {
            threads: self.threads,
            compressions: &self.compressions,
        };
        // The data of operations comes first.
        let mut builder = SectionBuilder::new(spool, self.version, compression, progress);
        let kernel = match (self.kernel, parts.kernel) {
            (None, _) => None,
            (Some(_), Some(place)) => Some(Section::without_data(place.len, place.sha256)),
            (Some(kernel), None) => Some(builder.section(Input::Kernel, &mut Sequential::of(kernel))?),
        };
        let extra_partitions = self.extra_partitions.iter().map(|(name, image)| {
            let section = builder.section(Input::ExtraPartition(*name), &mut Sequential::of(*image));
            Ok((*name, section?))
        });
        let extra_partitions = extra_partitions.collect::<Result<Vec<_>, WriteError>>()?;
        let before = kernel
            .iter()
            .chain(extra_partitions.iter().map(|(_, section)| section));
        // Blocks of zeros are none of the content, but done.
        let (done, image_len) = (before.map(|section| section.size).sum::<u64>(), self.image.len());
        let image = (self.image, parts, self.predecessors.as_slice());
        let (image, kernel_start) = section(image, options, self.threads, spool, &mut |image| {
            progress(done + image);
        })?;
        progress(done + image_len);
        let kernel = kernel.map(|kernel| Section {
            content_start: kernel_start,
            ..kernel
        });
        Ok(Sections {
            image,
            kernel,
            extra_partitions,
        })
    }
}

/// The sections of a content payload.
struct Sections {
    image: Section,
    kernel: Option<Section>,
    extra_partitions: Vec<(PartitionName, Section)>,
}

/// What an image holds that needs no data of its own.
struct ImageParts {
    /// The hash tree, which is computed.
    tree: Option<VerityTree>,
    /// The kernel, which is content of the image, too.
    kernel: Option<KernelPlace>,
}

impl ImageParts {
    fn find(image: Snapshot<'_>, kernel: Option<Snapshot<'_>>) -> Result<Self, WriteError> {
        let input = Input::Image;
        let (blocks, len) = image.parts();
        let tree = content::find_tree(blocks, len);
        let tree = tree.map_err(|source| WriteError::Read { input, source })?;
        let mut parts = Self { tree, kernel: None };
        if let Some(kernel) = kernel {
            let input = Input::Kernel;
            let place = hash(kernel).and_then(|sha256| kernel::find(image, kernel, sha256, parts.computed()));
            parts.kernel = place.map_err(|source| WriteError::Read { input, source })?;
        }
        Ok(parts)
    }

    /// Blocks that are no content.
    fn computed(&self) -> Option<BlockRange> {
        self.tree.as_ref().map(VerityTree::blocks)
    }
}

/// A snapshot read from its beginning.
struct Sequential<'a> {
    image: Snapshot<'a>,
    at: u64,
}

impl<'a> Sequential<'a> {
    const fn of(image: Snapshot<'a>) -> Self {
        Self { image, at: 0 }
    }
}

impl Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.image.len().saturating_sub(self.at);
        let len = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let buffer = &mut buffer[..len];
        if !buffer.is_empty() {
            self.image.read_bytes(self.at, buffer)?;
        }
        self.at += len as u64;
        Ok(len)
    }
}

/// The section of the slot's image, whose packed chunks go to the spool; and the first byte of its
/// content that is the kernel.
fn section(
    (image, parts, predecessors): (Snapshot<'_>, &ImageParts, &[Snapshot<'_>]),
    options: &ContentOptions,
    threads: NonZeroUsize,
    spool: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<(Section, Option<u64>), WriteError> {
    let input = Input::Image;
    let size = image.len();
    if size == 0 {
        return Err(WriteError::Empty { input });
    }
    let sha256 = hash(image).map_err(|source| WriteError::Read { input, source })?;
    let (mut chunks, mut data_len) = (Vec::new(), 0);
    let mut data_sha256 = RunningHash::default();
    let found = workers::pack((image, parts), options, threads, &mut |packed| {
        data_len += packed.data.len() as u64;
        data_sha256.update(&packed.data);
        chunks.extend(packed.chunks);
        progress(packed.image_len);
        if chunks.len() > ContentTables::MAX_ENTRIES {
            return Err(too_many("chunk_lengths"));
        }
        spool.write_all(&packed.data).map_err(WriteError::Spool)
    })?;
    if found.segments.len() > ContentTables::MAX_ENTRIES {
        return Err(too_many("segment_encoders"));
    }
    let mut tables = ContentTables {
        chunker: options.chunker,
        prefix_len: options.prefix_len,
        encoders: found.encoders,
        chunks,
        segments: found.segments,
        verity_tree: parts.tree.clone(),
        predecessors: Vec::new(),
        data_len,
    };
    let packed = PackedImage::new(image, &tables);
    let mut made = Vec::new();
    for old in predecessors {
        made.push(packed.patches(*old, (threads, &mut data_len), spool)?);
    }
    (tables.predecessors, tables.data_len) = (made, data_len);
    let section = Section {
        content: Some(tables.to_wire()),
        data_len,
        data_sha256: data_sha256.value(),
        ..Section::without_data(size, sha256)
    };
    Ok((section, found.kernel_start))
}

fn too_many(field: &'static str) -> WriteError {
    let limit = ContentTables::MAX_ENTRIES;
    WriteError::Refused(ManifestError::Content(TablesError::TooMany { field, limit }))
}

fn hash(image: Snapshot<'_>) -> io::Result<Sha256Digest> {
    let mut from = Sequential::of(image);
    let (mut sha256, mut piece) = (RunningHash::default(), Vec::new());
    loop {
        piece.clear();
        from.by_ref().take(PIECE).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(sha256.value());
        }
        sha256.update(&piece);
    }
}
