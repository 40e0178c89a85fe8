//! A patch at work: three streams in, the result out.

use std::io::{self, Read};

use brotli_decompressor::Decompressor;
use bzip2::bufread::BzDecoder;

use super::{Packed, Packing, Patch, PatchError, Stream, brotli, numbers};

/// Bytes added or inserted at a time.
const BUFFER: usize = 64 << 10;

/// Bytes of compressed data that a decoder copies at a time.
const INPUT: usize = 4 << 10;

/// Triples that yield nothing and are followed all the same. `bsdiff` makes next to none, an attacker millions.
const IDLE_TRIPLES: u64 = 1024;

/// The old file and the position in it.
struct Old<R> {
    len: u64,
    read: R,
    position: i64,
}

impl<R> Old<R> {
    /// Fills `buf` from the position and moves it.
    fn read<E>(&mut self, buf: &mut [u8], at: u64) -> Result<(), E>
    where
        R: Fn(&mut [u8], u64) -> Result<(), E>,
        E: From<PatchError>,
    {
        let before =
            usize::try_from(self.position.min(0).unsigned_abs()).map_or(buf.len(), |n| n.min(buf.len()));
        let (negative, rest) = buf.split_at_mut(before);
        negative.fill(0);
        let offset = self.position.max(0).unsigned_abs();
        let inside =
            usize::try_from(self.len.saturating_sub(offset)).map_or(rest.len(), |n| n.min(rest.len()));
        let (inside, beyond) = rest.split_at_mut(inside);
        beyond.fill(0);
        if !inside.is_empty() {
            (self.read)(inside, offset)?;
        }
        let len = i64::try_from(buf.len()).map_err(|_| PatchError::Seek { at })?;
        self.seek(len, at)?;
        Ok(())
    }

    fn seek(&mut self, by: i64, at: u64) -> Result<(), PatchError> {
        self.position = self.position.checked_add(by).ok_or(PatchError::Seek { at })?;
        Ok(())
    }
}

struct Decoder<'a> {
    inner: Inner<'a>,
    stream: Stream,
}

enum Inner<'a> {
    Plain(&'a [u8]),
    Bzip2(BzDecoder<&'a [u8]>),
    Brotli(Box<Decompressor<&'a [u8]>>),
}

impl Read for Inner<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(bytes) => bytes.read(buf),
            Self::Bzip2(decoder) => decoder.read(buf),
            Self::Brotli(decoder) => decoder.read(buf),
        }
    }
}

impl<'a> Decoder<'a> {
    fn new(Packed { bytes, packing }: Packed<'a>, stream: Stream) -> Result<Self, PatchError> {
        let inner = match packing {
            Packing::Plain => Inner::Plain(bytes),
            Packing::Bzip2 => Inner::Bzip2(BzDecoder::new(bytes)),
            Packing::Brotli => {
                if !bytes.first().copied().is_some_and(brotli::is_bounded) {
                    return Err(PatchError::Window { stream });
                }
                Inner::Brotli(Box::new(Decompressor::new(bytes, INPUT)))
            }
        };
        Ok(Self { inner, stream })
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<(), PatchError> {
        let stream = self.stream;
        self.inner
            .read_exact(buf)
            .map_err(|source| PatchError::Damaged { stream, source })
    }
}

/// A patch at work.
pub(super) struct Patching<'a, R, W> {
    control: Decoder<'a>,
    diff: Decoder<'a>,
    extra: Decoder<'a>,
    old: Old<R>,
    write: W,
    done: u64,
    len: u64,
    buffer: Vec<u8>,
    old_buffer: Vec<u8>,
}

impl<'a, R, W> Patching<'a, R, W> {
    pub(super) fn new(patch: &Patch<'a>, old_len: u64, read: R, write: W) -> Result<Self, PatchError> {
        Ok(Self {
            control: Decoder::new(patch.control, Stream::Control)?,
            diff: Decoder::new(patch.diff, Stream::Diff)?,
            extra: Decoder::new(patch.extra, Stream::Extra)?,
            old: Old {
                len: old_len,
                read,
                position: 0,
            },
            write,
            done: 0,
            len: patch.result_len,
            buffer: vec![0; BUFFER],
            old_buffer: vec![0; BUFFER],
        })
    }

    /// Makes the whole result.
    pub(super) fn run<E>(&mut self) -> Result<(), E>
    where
        R: Fn(&mut [u8], u64) -> Result<(), E>,
        W: FnMut(&[u8]) -> Result<(), E>,
        E: From<PatchError>,
    {
        let mut idle = 0;
        while self.done < self.len {
            let mut triple = [0; 24];
            self.control.fill(&mut triple)?;
            let [add, insert, seek] = numbers(&triple);
            let before = self.done;
            self.add(self.count(add)?)?;
            self.insert(self.count(insert)?)?;
            self.old.seek(seek, self.done)?;
            idle += u64::from(before == self.done);
            if idle > IDLE_TRIPLES {
                return Err(PatchError::Idle.into());
            }
        }
        Ok(())
    }

    /// A count that fits what is left of the result.
    fn count(&self, count: i64) -> Result<u64, PatchError> {
        let count = u64::try_from(count).map_err(|_| PatchError::NegativeCount { at: self.done })?;
        (count <= self.len - self.done)
            .then_some(count)
            .ok_or(PatchError::TooLong { len: self.len })
    }

    fn add<E>(&mut self, mut count: u64) -> Result<(), E>
    where
        R: Fn(&mut [u8], u64) -> Result<(), E>,
        W: FnMut(&[u8]) -> Result<(), E>,
        E: From<PatchError>,
    {
        while count > 0 {
            let now = step(count);
            let (result, old) = (&mut self.buffer[..now], &mut self.old_buffer[..now]);
            self.diff.fill(result)?;
            self.old.read(old, self.done)?;
            result
                .iter_mut()
                .zip(old)
                .for_each(|(byte, old)| *byte = byte.wrapping_add(*old));
            (self.write)(result)?;
            self.done += now as u64;
            count -= now as u64;
        }
        Ok(())
    }

    fn insert<E>(&mut self, mut count: u64) -> Result<(), E>
    where
        W: FnMut(&[u8]) -> Result<(), E>,
        E: From<PatchError>,
    {
        while count > 0 {
            let now = step(count);
            let result = &mut self.buffer[..now];
            self.extra.fill(result)?;
            (self.write)(result)?;
            self.done += now as u64;
            count -= now as u64;
        }
        Ok(())
    }
}

fn step(count: u64) -> usize {
    usize::try_from(count).map_or(BUFFER, |count| count.min(BUFFER))
}
