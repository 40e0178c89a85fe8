//! Block targets: positioned reads and writes of a slot, which is a window into a device or an image.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// A slot's bytes: a partition's device node, or a window into a disk image. Offsets are in bytes
/// from the start of the slot. Positioned, so that workers on several threads share one target.
#[allow(clippy::len_without_is_empty)]
pub trait BlockTarget: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// Any I/O error; `UnexpectedEof` past the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at `offset`. Not durable before [`Self::sync`].
    ///
    /// # Errors
    /// Any I/O error; a write past the end is refused whole.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once everything written so far is on the medium.
    ///
    /// # Errors
    /// Any I/O error; after one, nothing written since the last success may be trusted.
    fn sync(&self) -> io::Result<()>;

    /// Starts writing back and drops `offset..offset + len` from the page cache, so that the next
    /// read comes from the medium. A hint that never fails; call after [`Self::sync`] for it to be
    /// sure. The cache keeps pieces of its own, of up to some MiB, that the range holds only in
    /// part.
    fn forget(&self, offset: u64, len: u64);
}

/// `len` bytes of a file or device from `start` on. Offsets outside are refused before anything is
/// done. `F` is the file, or a lock that holds it.
#[derive(Debug)]
pub struct FileTarget<F = File> {
    file: F,
    start: u64,
    len: u64,
}

impl<F: Deref<Target = File> + Send + Sync> FileTarget<F> {
    fn position(&self, offset: u64, len: usize, kind: io::ErrorKind) -> io::Result<u64> {
        let end = u64::try_from(len).ok().and_then(|len| offset.checked_add(len));
        let position = self.start.checked_add(offset);
        match (position, end) {
            (Some(position), Some(end)) if end <= self.len => Ok(position),
            _ => {
                let text = format!("{len} bytes at {offset} lie past the end ({} bytes)", self.len);
                Err(io::Error::new(kind, text))
            }
        }
    }
}

impl<F> FileTarget<F> {
    /// A window into `file`; nothing is read.
    pub fn new(file: F, start: u64, len: u64) -> Self {
        Self { file, start, len }
    }
}

impl<F: Deref<Target = File> + Send + Sync> BlockTarget for FileTarget<F> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let position = self.position(offset, buf.len(), io::ErrorKind::UnexpectedEof)?;
        self.file.read_exact_at(buf, position)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let position = self.position(offset, buf.len(), io::ErrorKind::InvalidInput)?;
        self.file.write_all_at(buf, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn forget(&self, offset: u64, len: u64) {
        let len = len.min(self.len.saturating_sub(offset));
        forget(&self.file, self.start.saturating_add(offset), len);
    }
}

/// Drops clean pages of `len` bytes at `start` from the page cache, and starts writing dirty ones
/// back. A hint: what can't be dropped stays.
pub(super) fn forget(file: &File, start: u64, len: u64) {
    let range = (i64::try_from(start), i64::try_from(len));
    // A length of 0 would mean the whole file.
    if let (Ok(start), Ok(len @ 1..)) = range {
        let _ = posix_fadvise(file, start, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn window() -> FileTarget<Box<File>> {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        FileTarget::new(Box::new(file), 10, 20)
    }

    #[test]
    fn a_write_past_the_end_is_refused_whole() {
        let target = window();
        let error = target.write_at(&[1; 8], 13).unwrap_err();
        assert_eq!(error.to_string(), "8 bytes at 13 lie past the end (20 bytes)");
        let mut all = [9; 20];
        target.read_at(&mut all, 0).unwrap();
        assert_eq!(all, [0; 20]);
    }

    #[test]
    fn offsets_count_from_the_start_of_the_window() {
        let target = window();
        target.write_at(b"abc", 17).unwrap();
        target.sync().unwrap();
        target.forget(0, 20);
        let mut bytes = [0; 5];
        target.file.read_exact_at(&mut bytes, 26).unwrap();
        assert_eq!(&bytes, b"\0abc\0");
    }

    #[test]
    fn absurd_offsets_do_not_wrap_around() {
        let target = window();
        assert_eq!(
            target.read_at(&mut [0; 1], u64::MAX).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert!(target.write_at(&[0; 1], u64::MAX - 9).is_err());
    }
}
