//! A payload in a file: opening it and feeding it to the reader.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use payload_format::{
    Event, ExtraPartitionLimits, Finished, FormatError, Header, Limits, MajorVersion, Manifest, Part, Reader,
    Sha256Digest,
};

use super::progress_bar::ProgressBar;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// Why a payload's file is refused.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// It can't be opened or read.
    #[error("cannot read {path}")]
    Read {
        /// The payload's file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is packed into something else.
    #[error("{path} is {kind}, no payload: unpack the payload in it first")]
    Packed {
        /// The file.
        path: PathBuf,
        /// The kind of file that it is.
        kind: &'static str,
    },
    /// It isn't what it should be.
    #[error("{path} is refused")]
    Format {
        /// The payload's file.
        path: PathBuf,
        /// The error of the format.
        source: FormatError,
    },
}

/// A payload's file.
#[derive(Debug)]
pub struct PayloadFile {
    path: PathBuf,
    file: File,
    len: u64,
}

/// What stands before a payload's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadMetadata {
    /// The manifest: images and operations.
    pub manifest: Arc<Manifest>,
    /// Bytes of header and manifest.
    pub size: u64,
    /// Bytes of the signatures of both that follow; 0 in major version 1.
    pub signatures_size: u64,
    /// SHA-256 of header and manifest.
    pub sha256: Sha256Digest,
}

impl PayloadFile {
    /// Opens the payload at `path`.
    ///
    /// # Errors
    /// [`PayloadError::Read`], and [`PayloadError::Packed`] for an archive or a compressed file.
    pub fn open(path: &Path) -> Result<Self, PayloadError> {
        let read = |source| PayloadError::Read {
            path: path.into(),
            source,
        };
        let file = File::open(path).map_err(read)?;
        let len = file.metadata().map_err(read)?.len();
        if let Some(kind) = packing(&file).map_err(read)? {
            return Err(PayloadError::Packed {
                path: path.into(),
                kind,
            });
        }
        Ok(Self {
            path: path.into(),
            file,
            len,
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Reads header and manifest as they are, whatever they say: the header, and the bytes of both.
    ///
    /// # Errors
    /// [`PayloadError`], if they are not there, of no known version, or longer than
    /// [`Limits::manifest_len`].
    pub(super) fn beginning(&self) -> Result<(Header, Vec<u8>), PayloadError> {
        let cut_off = |part| self.refused(FormatError::Truncated { at: self.len, part });
        let bytes = self.start(MajorVersion::V2.header_len() as u64)?;
        let header = Header::parse(&bytes).map_err(|error| self.refused(error.into()))?;
        let header = header.ok_or_else(|| cut_off(Part::Header))?;
        let (len, limit) = (header.manifest_len, anywhere(u64::MAX).manifest_len);
        if len > limit {
            return Err(self.refused(FormatError::ManifestLength { len, limit }));
        }
        let signed = header.version.header_len() as u64 + len;
        let bytes = self.start(signed)?;
        if (bytes.len() as u64) < signed {
            return Err(cut_off(Part::Manifest));
        }
        Ok((header, bytes))
    }

    /// The `len` bytes at `offset`.
    pub(super) fn at(&self, offset: u64, len: u32) -> Result<Vec<u8>, PayloadError> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = self.file.read_exact_at(&mut bytes, offset);
        read.map_err(|source| self.unread(source))?;
        Ok(bytes)
    }

    /// The first `len` bytes, or what there is of them.
    fn start(&self, len: u64) -> Result<Vec<u8>, PayloadError> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        let read = file
            .rewind()
            .and_then(|()| file.take(len).read_to_end(&mut bytes));
        read.map_err(|source| self.unread(source))?;
        Ok(bytes)
    }

    /// Reads header and manifest and no further: the payload may be incomplete.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn metadata(&self) -> Result<PayloadMetadata, PayloadError> {
        let mut found = None;
        let mut reader = Reader::new(anywhere(u64::MAX));
        self.feed(&mut reader, &mut |_| {}, &mut |event| {
            if let Event::Metadata {
                manifest,
                bytes,
                sha256,
            } = event
            {
                let parts = payload_format::Metadata::parse(&bytes).map_err(|e| self.refused(e))?;
                found = Some(PayloadMetadata {
                    manifest,
                    size: parts.signed().len() as u64,
                    signatures_size: parts.signatures().len() as u64,
                    sha256,
                });
            }
            Ok::<_, PayloadError>(if found.is_some() {
                ReadFlow::Stop
            } else {
                ReadFlow::GoOn
            })
        })?;
        match found {
            Some(metadata) => Ok(metadata),
            // A reader that has no metadata at the file's end says so.
            None => Err(self.refused(reader.finish().err().unwrap_or(FormatError::Refused))),
        }
    }

    /// Reads all of it for a slot of `slot_len` bytes, tells `take` every event, and a terminal the
    /// progress of `what`.
    ///
    /// # Errors
    /// [`PayloadError`], or what `take` answers.
    pub fn read<E: From<PayloadError>>(
        &self,
        what: &'static str,
        slot_len: u64,
        mut take: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<Finished, E> {
        let limits = Limits {
            payload_size: Some(self.len),
            ..anywhere(slot_len)
        };
        let mut reader = Reader::new(limits);
        let mut progress = ProgressBar::new(what, self.len);
        self.feed(&mut reader, &mut |offset| progress.show(offset), &mut |event| {
            take(event).map(|()| ReadFlow::GoOn)
        })?;
        Ok(reader.finish().map_err(|source| self.refused(source))?)
    }

    fn feed<E: From<PayloadError>>(
        &self,
        reader: &mut Reader,
        progress: &mut dyn FnMut(u64),
        take: &mut dyn FnMut(Event) -> Result<ReadFlow, E>,
    ) -> Result<(), E> {
        let failed = |source| self.unread(source);
        let mut file = &self.file;
        file.rewind().map_err(failed)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = file.read(&mut chunk).map_err(failed)?;
            let mut input = &chunk[..n];
            while let Some(event) = reader.read(&mut input).map_err(|source| self.refused(source))? {
                if take(event)? == ReadFlow::Stop {
                    return Ok(());
                }
            }
            progress(reader.offset());
            if n == 0 {
                return Ok(());
            }
        }
    }

    fn unread(&self, source: io::Error) -> PayloadError {
        PayloadError::Read {
            path: self.path.clone(),
            source,
        }
    }

    pub(super) fn refused(&self, source: FormatError) -> PayloadError {
        PayloadError::Format {
            path: self.path.clone(),
            source,
        }
    }
}

/// Archives and compressed files that payloads are handed on in, by their first bytes.
const PACKINGS: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ\0", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
];

/// What `file` is packed into; a tar archive names itself in its first header, at byte 257.
fn packing(file: &File) -> io::Result<Option<&'static str>> {
    let mut start = [0; 262];
    let mut filled = 0;
    while let Some(rest) = start.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if start.ends_with(b"ustar") {
        return Ok(Some("a tar archive"));
    }
    let known = PACKINGS.iter().find(|(magic, _)| start.starts_with(magic));
    Ok(known.map(|(_, kind)| *kind))
}

/// Limits for a payload that is written to no node's partitions.
fn anywhere(slot_len: u64) -> Limits {
    Limits {
        extra_partitions: ExtraPartitionLimits::Any,
        content_payloads: true,
        ..Limits::for_slot(slot_len)
    }
}

#[derive(PartialEq, Eq)]
enum ReadFlow {
    GoOn,
    Stop,
}
