//! Images in memory.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use payload_format::{ReadBlocks, WriteBlocks};

use crate::Bug;

/// An image of a fixed length, as a slot has it.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes: Mutex<Vec<u8>>,
    bug: Bug,
}

impl Memory {
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Self> {
        Self::with(bytes, Bug::None)
    }

    /// One that spoils long writes behind its middle if the bug is planted.
    pub(crate) fn with(bytes: Vec<u8>, bug: Bug) -> Arc<Self> {
        let bytes = Mutex::new(bytes);
        Arc::new(Self { bytes, bug })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn range(offset: u64, len: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(len)?)
}

impl ReadBlocks for Memory {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.lock();
        let inside = range(offset, buf.len()).and_then(|range| bytes.get(range));
        buf.copy_from_slice(inside.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl WriteBlocks for Memory {
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = self.lock();
        let half = bytes.len() as u64 / 2;
        let inside = range(offset, buf.len()).and_then(|range| bytes.get_mut(range));
        let inside = inside.ok_or(io::ErrorKind::StorageFull)?;
        inside.copy_from_slice(buf);
        if self.bug.strikes(offset > half && buf.len() >= 1024) {
            inside[700] ^= 1;
        }
        Ok(())
    }
}
