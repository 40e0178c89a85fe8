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
mod workers;

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;

use super::chunk::CompressionOptions;
use super::delta::Snapshot;
use super::section::{Section, SectionBuilder};
use super::{ContentPayload, Contents, Input, Summary, WriteError};
use crate::content::{ChunkerParams, ContentTables, TablesError};
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
    /// Higher levels than 9 take ten times as long for half a percent, since each chunk has the
    /// prefix looked through anew; without the prefix chunks take 4 to 7 % more.
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
        let Self {
            image,
            kernel,
            extra_partitions,
            signers,
            threads,
            version,
            compressions,
            limits,
            release,
            ..
        } = self;
        let compression = CompressionOptions {
            threads,
            compressions: &compressions,
        };
        // The data of operations comes first.
        let mut sections = SectionBuilder::new(spool, version, compression, progress);
        let kernel = kernel
            .map(|kernel| sections.section(Input::Kernel, &mut Sequential::of(kernel)))
            .transpose()?;
        let extra_partitions = extra_partitions
            .into_iter()
            .map(|(name, image)| {
                let section = sections.section(Input::ExtraPartition(name), &mut Sequential::of(image));
                Ok((name, section?))
            })
            .collect::<Result<Vec<(PartitionName, Section)>, WriteError>>()?;
        let before = kernel
            .iter()
            .chain(extra_partitions.iter().map(|(_, section)| section));
        // Blocks of zeros are none of the content, but done.
        let (done, image_len) = (before.map(|section| section.size).sum::<u64>(), image.len());
        let image = section(image, options, threads, spool, &mut |image| {
            progress(done + image);
        })?;
        progress(done + image_len);
        spool.seek(SeekFrom::Start(0)).map_err(WriteError::Spool)?;
        let contents = Contents {
            version,
            limits,
            image,
            kernel,
            extra_partitions,
            release,
            signers: &signers,
        };
        contents.write(spool, out)
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

/// The section of the slot's image, whose packed chunks go to the spool.
fn section(
    image: Snapshot<'_>,
    options: &ContentOptions,
    threads: NonZeroUsize,
    spool: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Section, WriteError> {
    let input = Input::Image;
    let size = image.len();
    if size == 0 {
        return Err(WriteError::Empty { input });
    }
    let sha256 = hash(image).map_err(|source| WriteError::Read { input, source })?;
    let (mut chunks, mut data_len) = (Vec::new(), 0);
    let mut data_sha256 = RunningHash::default();
    let found = workers::pack(image, options, threads, &mut |packed| {
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
    let tables = ContentTables {
        chunker: options.chunker,
        prefix_len: options.prefix_len,
        encoders: found.encoders,
        chunks,
        segments: found.segments,
        data_len,
    };
    Ok(Section {
        operations: Vec::new(),
        content: Some(tables.to_wire()),
        old: None,
        size,
        sha256,
        data_offset: 0,
        data_len,
        data_sha256: data_sha256.value(),
    })
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
