//! A buffered sink: gathers the small writes of a patch.

use super::pieces::clamp;
use super::sink::Sink;
use super::{BUFFER, Fault};
use crate::operation::Replay;

/// Zeros that are written at once.
static ZEROS: [u8; 4096] = [0; 4096];

/// Gathers small writes. An operation that overwrites its own source is held back until it has read
/// all of it; the manifest's check bounds how much that can be.
pub(super) struct BufferedSink {
    sink: Sink,
    buffer: Vec<u8>,
    hold: bool,
}

impl BufferedSink {
    pub(super) fn new(sink: Sink, replay: Replay) -> Self {
        Self {
            sink,
            buffer: Vec::new(),
            hold: replay == Replay::Never,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.buffer.extend_from_slice(bytes);
        if self.hold || self.buffer.len() < BUFFER {
            return Ok(());
        }
        self.flush()
    }

    /// Writes so many zeros.
    pub(super) fn zeros(&mut self, mut count: u64) -> Result<(), Fault> {
        while count > 0 {
            let now = clamp(count, ZEROS.len());
            self.write(&ZEROS[..now])?;
            count -= now as u64;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.sink.write(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Fault> {
        self.flush()?;
        self.sink.finish()
    }
}
