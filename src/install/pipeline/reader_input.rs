//! The payload reader's input: chunks from the network in, events of the payload out.

use std::collections::VecDeque;

use payload_format::{Checkpoint, Event, Finished, FormatError, OpId, Reader};

use super::messages::Chunk;

/// The reader, and what it has not read yet.
#[derive(Debug)]
pub(super) struct ReaderInput {
    reader: Reader,
    chunks: VecDeque<Chunk>,
}

impl ReaderInput {
    pub(super) const fn new(reader: Reader) -> Self {
        Self {
            reader,
            chunks: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        self.chunks.push_back(chunk);
    }

    /// The next event; none until more bytes come.
    ///
    /// # Errors
    /// The payload is refused.
    pub(super) fn next(&mut self) -> Result<Option<Event>, FormatError> {
        while let Some(chunk) = self.chunks.front_mut() {
            let mut input: &[u8] = &chunk.bytes;
            let event = self.reader.read(&mut input)?;
            let read = chunk.bytes.len() - input.len();
            let _ = chunk.bytes.split_to(read);
            if event.is_some() {
                return Ok(event);
            }
            // Without an event all of it was read; dropping it lets the network go on.
            self.chunks.pop_front();
        }
        // Operations without data need no byte.
        self.reader.read(&mut &[][..])
    }

    /// The operation whose data comes next.
    pub(super) fn due(&self) -> Option<OpId> {
        self.reader.due()
    }

    /// The place after the last operation that was handed out; none before the metadata is
    /// complete.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.reader.checkpoint()
    }

    /// Ends reading.
    ///
    /// # Errors
    /// The payload isn't complete.
    pub(super) fn finish(self) -> Result<Finished, FormatError> {
        self.reader.finish()
    }
}
