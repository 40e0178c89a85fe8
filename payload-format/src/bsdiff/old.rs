//! The old file, of which any part is read at any time.

use super::PatchError;

/// The old file, `len` bytes long.
pub(crate) struct Old<R> {
    pub(crate) len: u64,
    pub(crate) read: R,
}

impl<R> Old<R> {
    /// Fills `buf` from a position that may be outside, where bytes count as zero.
    pub(crate) fn read<E>(&self, buf: &mut [u8], position: i64) -> Result<(), E>
    where
        R: Fn(&mut [u8], u64) -> Result<(), E>,
        E: From<PatchError>,
    {
        let (before, rest) = split(buf, position.min(0).unsigned_abs());
        before.fill(0);
        let offset = position.max(0).unsigned_abs();
        let (inside, beyond) = split(rest, self.len.saturating_sub(offset));
        beyond.fill(0);
        if inside.is_empty() {
            return Ok(());
        }
        (self.read)(inside, offset)
    }
}

/// The first so many bytes, as far as there are so many, and the rest.
fn split(buf: &mut [u8], at: u64) -> (&mut [u8], &mut [u8]) {
    let at = usize::try_from(at).map_or(buf.len(), |at| at.min(buf.len()));
    buf.split_at_mut(at)
}

/// Adds the old file's bytes to the differences.
pub(crate) fn add(differences: &mut [u8], old: &[u8]) {
    differences
        .iter_mut()
        .zip(old)
        .for_each(|(byte, old)| *byte = byte.wrapping_add(*old));
}
