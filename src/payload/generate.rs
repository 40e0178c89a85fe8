//! Generating payloads from images, full or as a delta.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use payload_format::writer::{
    ContentOptions, ContentPayload, DeltaImage, DeltaPayload, FullPayload, RsaSigner, SignError, Snapshot,
    Summary, WriteError,
};
use payload_format::{Compression, ImageRelease, MajorVersion, PartitionName, PatchKind, ReadBlocks};

use super::image_release::image_release;
use super::output_file::OutputFile;
use super::progress_bar::ProgressBar;
use crate::image::{KernelHeader, WrongImage, root_hash};

/// Options of [`generate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateOptions {
    /// The image of the slot.
    pub image: PathBuf,
    /// The kernel that boots it.
    pub kernel: Option<PathBuf>,
    /// Extra partitions, in payloads of version 2.
    pub extra_partitions: Vec<(PartitionName, PathBuf)>,
    /// What a delta is made from; `None` makes a full payload.
    pub old: Option<DeltaSource>,
    /// Sends the image as its content, of which a node fetches what it doesn't have: in version 2.
    pub content: bool,
    /// Old images that a content payload has patches for.
    pub predecessors: Vec<PathBuf>,
    /// Major version of the format.
    pub version: MajorVersion,
    /// How chunks may be compressed: each gets its smallest form. None leaves all as they are.
    pub compressions: Vec<Compression>,
    /// The image's `os-release`; `None` takes the one in the image, if that can be read there.
    pub os_release: Option<PathBuf>,
    /// Private keys (PEM), in the order of their signatures; none leaves the payload unsigned.
    pub private_keys: Vec<PathBuf>,
}

/// The images of nodes that a delta is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaSource {
    /// The image of their slot.
    pub image: PathBuf,
    /// Its kernel; without it, the new one is sent whole.
    pub kernel: Option<PathBuf>,
    /// Its extra partitions; those without are sent whole.
    pub extra_partitions: Vec<(PartitionName, PathBuf)>,
    /// How what is similar may be patched: each piece gets its smallest patch.
    pub patches: Vec<PatchKind>,
}

/// Why there is no payload.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A file can't be opened or read.
    #[error("cannot read {path}")]
    Read {
        /// Path of the file or device.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file is not a usable private key.
    #[error("cannot sign with {path}")]
    Key {
        /// Path of the file or device.
        path: PathBuf,
        /// The error of signing.
        source: SignError,
    },
    /// Deltas are of version 2.
    #[error("deltas are made in format v2 alone")]
    DeltaOfVersion1,
    /// Content payloads are full ones of version 2.
    #[error("content payloads are made by --format v2, and their old images are named by --from")]
    ContentOfOther,
    /// An old partition of which there is no new one.
    #[error("there is an old partition {0} and no new one")]
    NoNewPartition(PartitionName),
    /// An `os-release` that no manifest takes.
    #[error(
        "{path} has {len} bytes, more than an os-release has (at most {})",
        ImageRelease::MAX_LEN
    )]
    ReleaseLength {
        /// File that was named as the image's `os-release`.
        path: PathBuf,
        /// Its length in bytes, or the part of it that was read.
        len: u64,
    },
    /// The kernel is that of another image.
    #[error("the kernel and the image don't belong together")]
    WrongKernel(#[from] WrongImage),
    /// The payload can't be put together.
    #[error("cannot make a payload of {path}")]
    Write {
        /// File of the image.
        path: PathBuf,
        /// The error of the writer.
        source: WriteError,
    },
    /// The payload's file can't be written.
    #[error("cannot write {path}")]
    Output {
        /// File of the payload.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Makes a payload of `from` and puts it at `out`, which holds either what it held before or all of
/// the new payload. The data is spooled to an unnamed file in the same directory meanwhile.
///
/// # Errors
/// [`GenerateError`].
pub fn generate(from: &GenerateOptions, out: &Path) -> Result<Summary, GenerateError> {
    check(from)?;
    let signers = from
        .private_keys
        .iter()
        .map(|path| signer(path))
        .collect::<Result<Vec<_>, _>>()?;
    let image = InputFile::open(&from.image)?;
    let kernel = from.kernel.as_deref().map(InputFile::open).transpose()?;
    let extra_partitions = partitions(&from.extra_partitions)?;
    let predecessors = from.predecessors.iter().map(|path| InputFile::open(path));
    let predecessors = predecessors.collect::<Result<Vec<_>, _>>()?;
    if let Some(kernel) = &kernel {
        belongs(kernel, from.kernel.as_deref().unwrap_or(Path::new("")), &image)?;
    }
    let release = image_release(from, image.snapshot())?;
    let failed = |source| GenerateError::Output {
        path: out.into(),
        source,
    };
    let output = OutputFile::begin(out).map_err(failed)?;
    let mut spool = output.spool().map_err(failed)?;
    // The writer flushes it.
    let mut file = BufWriter::with_capacity(1 << 20, output.file());
    let made = match &from.old {
        Some(old) => delta(
            from,
            old,
            (&image, kernel.as_ref(), &extra_partitions),
            (&signers[..], release),
            &mut spool,
            &mut file,
        )?,
        None if from.content => content(
            from,
            (&image, kernel.as_ref(), &extra_partitions),
            &predecessors,
            (&signers[..], release),
            &mut spool,
            &mut file,
        ),
        None => full(
            from,
            (image, kernel, extra_partitions),
            (&signers[..], release),
            &mut spool,
            &mut file,
        ),
    };
    let summary = made.map_err(|source| GenerateError::Write {
        path: from.image.clone(),
        source,
    })?;
    drop(file);
    output.publish().map_err(failed)?;
    Ok(summary)
}

/// Whether the options go together.
fn check(from: &GenerateOptions) -> Result<(), GenerateError> {
    if from.old.is_some() && from.version == MajorVersion::V1 {
        return Err(GenerateError::DeltaOfVersion1);
    }
    if from.content && (from.old.is_some() || from.version == MajorVersion::V1) {
        return Err(GenerateError::ContentOfOther);
    }
    let is_new = |old: &PartitionName| from.extra_partitions.iter().any(|(name, _)| name == old);
    let mut old = from.old.iter().flat_map(|old| &old.extra_partitions);
    if let Some((name, _)) = old.find(|(name, _)| !is_new(name)) {
        return Err(GenerateError::NoNewPartition(*name));
    }
    Ok(())
}

/// What the writer says.
type WriteResult = Result<Summary, WriteError>;

fn full(
    from: &GenerateOptions,
    (mut image, mut kernel, mut extra_partitions): (
        InputFile,
        Option<InputFile>,
        Vec<(PartitionName, InputFile)>,
    ),
    (signers, release): (&[RsaSigner], Option<ImageRelease>),
    spool: &mut File,
    out: &mut impl Write,
) -> WriteResult {
    let files = kernel.iter().chain(extra_partitions.iter().map(|(_, part)| part));
    let total = image.len + files.map(|part| part.len).sum::<u64>();
    let mut progress = ProgressBar::new("compressing", total);
    let mut payload = FullPayload::new(&mut image.file)
        .with_version(from.version)
        .with_compressions(&from.compressions)
        .with_threads(threads());
    if let Some(kernel) = &mut kernel {
        payload = payload.with_kernel(&mut kernel.file);
    }
    for (name, part) in &mut extra_partitions {
        payload = payload.with_partition(*name, &mut part.file);
    }
    if let Some(release) = release {
        payload = payload.with_release(release);
    }
    for signer in signers {
        payload = payload.with_signer(signer);
    }
    payload.write(spool, out, &mut |done| progress.show(done))
}

fn content(
    from: &GenerateOptions,
    (image, kernel, extra_partitions): (&InputFile, Option<&InputFile>, &[(PartitionName, InputFile)]),
    predecessors: &[InputFile],
    (signers, release): (&[RsaSigner], Option<ImageRelease>),
    spool: &mut File,
    out: &mut impl Write,
) -> WriteResult {
    let files = kernel
        .into_iter()
        .chain(extra_partitions.iter().map(|(_, part)| part));
    let total = image.len + files.map(|part| part.len).sum::<u64>();
    let mut progress = ProgressBar::new("compressing", total);
    let mut payload = ContentPayload::new(image.snapshot())
        .with_compressions(&from.compressions)
        .with_threads(threads());
    for predecessor in predecessors {
        payload = payload.with_predecessor(predecessor.snapshot());
    }
    if let Some(kernel) = kernel {
        payload = payload.with_kernel(kernel.snapshot());
    }
    for (name, part) in extra_partitions {
        payload = payload.with_partition(*name, part.snapshot());
    }
    if let Some(release) = release {
        payload = payload.with_release(release);
    }
    for signer in signers {
        payload = payload.with_signer(signer);
    }
    payload.write(&ContentOptions::default(), spool, out, &mut |done| {
        progress.show(done);
    })
}

fn delta(
    from: &GenerateOptions,
    old: &DeltaSource,
    (image, kernel, extra_partitions): (&InputFile, Option<&InputFile>, &[(PartitionName, InputFile)]),
    (signers, release): (&[RsaSigner], Option<ImageRelease>),
    spool: &mut File,
    out: &mut impl Write,
) -> Result<WriteResult, GenerateError> {
    let old_image = InputFile::open(&old.image)?;
    let old_kernel = old.kernel.as_deref().map(InputFile::open).transpose()?;
    let old_extra_partitions = partitions(&old.extra_partitions)?;
    let files = kernel
        .into_iter()
        .chain(extra_partitions.iter().map(|(_, part)| part));
    let total = image.len + files.map(|part| part.len).sum::<u64>();
    let mut progress = ProgressBar::new("comparing", total);
    let mut payload = DeltaPayload::new(old_image.snapshot(), image.snapshot())
        .with_compressions(&from.compressions)
        .with_patches(&old.patches)
        .with_threads(threads());
    if let Some(kernel) = kernel {
        payload = payload.with_kernel(DeltaImage {
            old: old_kernel.as_ref().map(InputFile::snapshot),
            new: kernel.snapshot(),
        });
    }
    for (name, part) in extra_partitions {
        let old = old_extra_partitions.iter().find(|(old, _)| old == name);
        payload = payload.with_partition(
            *name,
            DeltaImage {
                old: old.map(|(_, old)| old.snapshot()),
                new: part.snapshot(),
            },
        );
    }
    if let Some(release) = release {
        payload = payload.with_release(release);
    }
    for signer in signers {
        payload = payload.with_signer(signer);
    }
    Ok(payload.write(spool, out, &mut |done| progress.show(done)))
}

/// Where the kernel insists on a `/usr`, and the image has a hash tree, it is this one.
fn belongs(kernel: &InputFile, path: &Path, image: &InputFile) -> Result<(), GenerateError> {
    let read = |source| GenerateError::Read {
        path: path.into(),
        source,
    };
    let mut head = vec![
        0;
        usize::try_from(kernel.len)
            .unwrap_or(usize::MAX)
            .min(KernelHeader::LEN)
    ];
    kernel.read_at(&mut head, 0).map_err(read)?;
    let Some(embedded) = KernelHeader::of(&head).root_hash else {
        return Ok(());
    };
    match root_hash(image, image.len).map_err(read)? {
        Some(found) if found != embedded => Err(WrongImage::RootHash {
            kernel: path.into(),
            embedded,
            slot: "the image".to_owned(),
            found,
        }
        .into()),
        _ => Ok(()),
    }
}

fn partitions(paths: &[(PartitionName, PathBuf)]) -> Result<Vec<(PartitionName, InputFile)>, GenerateError> {
    let open = |(name, path): &(PartitionName, PathBuf)| Ok((*name, InputFile::open(path)?));
    paths.iter().map(open).collect()
}

fn threads() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A file or block device that goes into a payload.
struct InputFile {
    file: File,
    len: u64,
}

impl InputFile {
    fn open(path: &Path) -> Result<Self, GenerateError> {
        let read = |source| GenerateError::Read {
            path: path.into(),
            source,
        };
        let mut file = File::open(path).map_err(read)?;
        // A block device has no length to be told by its metadata.
        let len = file.seek(SeekFrom::End(0)).map_err(read)?;
        file.rewind().map_err(read)?;
        Ok(Self { file, len })
    }

    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(self, self.len)
    }
}

impl ReadBlocks for InputFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

fn signer(path: &Path) -> Result<RsaSigner, GenerateError> {
    let mut pem = String::new();
    // Keys take a few KiB; whatever is longer isn't one.
    let read = File::open(path).and_then(|file| file.take(64 << 10).read_to_string(&mut pem));
    read.map_err(|source| GenerateError::Read {
        path: path.into(),
        source,
    })?;
    RsaSigner::from_pem(&pem).map_err(|source| GenerateError::Key {
        path: path.into(),
        source,
    })
}
