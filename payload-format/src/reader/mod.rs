//! The push reader: bytes in, in any pieces; the same events out.
//!
//! ```text
//!         20 or 24 bytes    manifest_len and more       data of all operations            signatures_len
//!  ┌────────┐      ┌──────────┐            ┌───────────┐                     ┌────────────┐      ┌──────┐
//!  │ Header │─────▶│ Manifest │───────────▶│ Operation │──┐ next, in order   │ Signatures │─────▶│ Done │
//!  └────────┘      └──────────┘  Metadata  └───────────┘◀─┘ Operation |      └────────────┘      └──────┘
//!                                                │          Piece*, PiecesVerified  ▲
//!                                                └──────────────────────────────────┘ after the last
//! ```
//!
//! Any refusal is final: the reader then answers [`FormatError::Refused`]. Memory holds the
//! manifest, at most one operation's data up to [`Limits::whole_data`]. Longer lengths may be
//! claimed: nothing is set aside for them.

mod checkpoint;
mod error;
mod event;
mod metadata;
mod operations;

pub use checkpoint::Checkpoint;
pub use error::{FormatError, Part};
pub use event::{Event, Finished};
pub use metadata::Metadata;

use std::sync::Arc;

use crate::digest::{RunningHash, Sha256Digest};
use crate::header::MajorVersion;
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::op_id::OpId;
use metadata::Incoming;
use operations::Operations;

/// Reads one payload.
///
/// ```
/// # use payload_format::{FormatError, Limits, Reader};
/// # fn read(chunks: &[&[u8]], slot_len: u64) -> Result<(), FormatError> {
/// let mut reader = Reader::new(Limits::for_slot(slot_len));
/// for chunk in chunks {
///     let mut input: &[u8] = chunk;
///     while let Some(event) = reader.read(&mut input)? {
///         println!("{event:?}");
///     }
/// }
/// let finished = reader.finish()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    state: State,
    intake: Intake,
}

#[derive(Debug)]
enum State {
    Metadata(Incoming),
    Operations(Operations),
    Signatures(SignatureBlob),
    Refused,
}

/// The end of the payload.
#[derive(Debug)]
struct SignatureBlob {
    /// Bytes of the blob; 0 if unsigned.
    len: u64,
    version: MajorVersion,
    blob: Vec<u8>,
    /// Of everything before the blob.
    signed: Sha256Digest,
    /// After the last operation.
    done: Checkpoint,
}

/// Counts and hashes every byte that is taken.
#[derive(Debug, Default, Clone)]
struct Intake {
    offset: u64,
    hashes: Hashes,
}

/// Hashes over the payload so far.
#[derive(Debug, Default, Clone)]
struct Hashes {
    /// Of every byte.
    payload: RunningHash,
    /// Of what the signatures sign, where that differs: major version 2 leaves the metadata's own
    /// out.
    signed: Option<RunningHash>,
}

impl Intake {
    /// Moves bytes from `input` to `buffer` until that holds `len`; tells whether it does.
    fn fill(&mut self, buffer: &mut Vec<u8>, len: u64, input: &mut &[u8]) -> bool {
        let before = buffer.len();
        let full = self.fill_unsigned(buffer, len, input);
        if let Some(signed) = &mut self.hashes.signed {
            signed.update(buffer.get(before..).unwrap_or_default());
        }
        full
    }

    /// Likewise, of bytes that the payload's signatures don't sign.
    fn fill_unsigned(&mut self, buffer: &mut Vec<u8>, len: u64, input: &mut &[u8]) -> bool {
        let missing = len.saturating_sub(buffer.len() as u64);
        let take = usize::try_from(missing).map_or(input.len(), |missing| missing.min(input.len()));
        let (taken, rest) = input.split_at(take);
        self.hashes.payload.update(taken);
        self.offset += take as u64;
        buffer.extend_from_slice(taken);
        *input = rest;
        buffer.len() as u64 >= len
    }
}

impl Reader {
    /// For a payload from its first byte.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Metadata(Incoming::default()),
            intake: Intake::default(),
        }
    }

    /// For a payload that was read up to `checkpoint` before. `metadata` are the bytes of
    /// [`Event::Metadata`]; the first byte to push is that at [`Checkpoint::offset`], the first
    /// event that of [`Checkpoint::next_operation`].
    ///
    /// # Errors
    /// [`FormatError`] if the metadata is refused, or the checkpoint is of another payload.
    pub fn resume(
        limits: Limits,
        metadata: &[u8],
        checkpoint: &Checkpoint,
    ) -> Result<(Self, Arc<Manifest>), FormatError> {
        if Sha256Digest::of(metadata) != checkpoint.metadata {
            return Err(FormatError::ForeignCheckpoint);
        }
        let manifest = Arc::new(metadata::parse(metadata, &limits)?);
        let operations = Operations::resume(Arc::clone(&manifest), metadata.len() as u64, checkpoint)?;
        let intake = Intake {
            offset: checkpoint.offset,
            hashes: checkpoint.hashes.clone(),
        };
        Ok((
            Self {
                limits,
                state: State::Operations(operations),
                intake,
            },
            manifest,
        ))
    }

    /// Takes bytes from `input` until an event is complete or nothing is left. Call it until it
    /// returns `None`: an operation without data needs no further byte.
    ///
    /// # Errors
    /// [`FormatError`]; nothing more comes of this payload then.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Event>, FormatError> {
        let result = self.advance(input);
        if result.is_err() {
            self.state = State::Refused;
        }
        result
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Event>, FormatError> {
        match &mut self.state {
            State::Metadata(metadata) => {
                let Some((event, operations)) = metadata.read(&mut self.intake, &self.limits, input)? else {
                    return Ok(None);
                };
                self.state = State::Operations(operations);
                Ok(Some(event))
            }
            State::Operations(operations) => {
                if let Some(event) = operations.read(&mut self.intake, &self.limits, input)? {
                    return Ok(Some(event));
                }
                let Some(signatures) = operations.complete() else {
                    return Ok(None);
                };
                self.state = State::Signatures(signatures);
                self.advance(input)
            }
            State::Signatures(SignatureBlob { len, blob, .. }) => {
                let complete = self.intake.fill(blob, *len, input);
                if complete && !input.is_empty() {
                    return Err(FormatError::TrailingBytes(self.intake.offset));
                }
                Ok(None)
            }
            State::Refused => Err(FormatError::Refused),
        }
    }

    /// The place after the last operation that was handed out: all of it is in events already.
    /// `None` before the metadata is complete.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        match &self.state {
            State::Operations(operations) => Some(operations.checkpoint().clone()),
            State::Signatures(signatures) => Some(signatures.done.clone()),
            State::Metadata(_) | State::Refused => None,
        }
    }

    /// The operation whose data the next bytes are: its memory can be found before it is needed.
    /// `None` before the metadata is complete, and after the last one.
    #[must_use]
    pub fn due(&self) -> Option<OpId> {
        match &self.state {
            State::Operations(operations) => operations.due(),
            State::Metadata(_) | State::Signatures(_) | State::Refused => None,
        }
    }

    /// Bytes of the payload that were taken so far, those before a resumed checkpoint included.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.intake.offset
    }

    /// Ends reading: no byte follows.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if the payload isn't complete.
    pub fn finish(mut self) -> Result<Finished, FormatError> {
        // A payload without signatures is complete with its last operation, which needs no further
        // byte.
        while self.read(&mut &[][..])?.is_some() {}
        let at = self.intake.offset;
        let truncated = |part| FormatError::Truncated { at, part };
        match self.state {
            State::Metadata(metadata) => Err(truncated(metadata.part())),
            State::Operations(_) => Err(truncated(Part::Data)),
            State::Signatures(SignatureBlob {
                len,
                version,
                blob,
                signed,
                ..
            }) => {
                if (blob.len() as u64) < len {
                    return Err(truncated(Part::Signatures));
                }
                Ok(Finished {
                    version,
                    payload_sha256: self.intake.hashes.payload.value(),
                    payload_len: at,
                    signed_sha256: signed,
                    signatures: blob,
                })
            }
            State::Refused => Err(FormatError::Refused),
        }
    }
}
