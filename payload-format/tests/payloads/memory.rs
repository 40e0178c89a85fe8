//! Images in memory.

use std::io;
use std::sync::{Arc, Mutex};

use payload_format::{ReadBlocks, Sha256Digest, WriteBlocks};

/// An image of a fixed length, as a slot has it.
#[derive(Debug)]
pub(crate) struct Memory(Mutex<Vec<u8>>);

impl Memory {
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(bytes)))
    }

    /// A slot full of what an earlier version left.
    pub(crate) fn garbage(len: u64) -> Arc<Self> {
        Self::new(vec![0xa5; usize::try_from(len).unwrap()])
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    /// SHA-256 of the first `len` bytes.
    pub(crate) fn sha256(&self, len: u64) -> Sha256Digest {
        Sha256Digest::of(&self.0.lock().unwrap()[..usize::try_from(len).unwrap()])
    }
}

fn range(offset: u64, len: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap();
    start..start + len
}

impl ReadBlocks for Memory {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.0.lock().unwrap();
        let inside = bytes
            .get(range(offset, buf.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(inside);
        Ok(())
    }
}

impl WriteBlocks for Memory {
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        let inside = bytes
            .get_mut(range(offset, buf.len()))
            .ok_or(io::ErrorKind::StorageFull)?;
        inside.copy_from_slice(buf);
        Ok(())
    }
}
