//! The bytes of a package that were asked for, as they come.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc::Receiver;

use super::ContentFailure;
use crate::fetch::FetchError;
use crate::install::InstallError;

/// See the module. What lies between two places that are taken is thrown away.
pub(super) struct Supply {
    pieces: Receiver<Result<Bytes, FetchError>>,
    /// What is still to come, in order; the first begins with the next byte.
    ranges: VecDeque<Range<u64>>,
    /// What has come and was not taken.
    left: Bytes,
}

impl Supply {
    /// `pieces` are the bytes of `ranges`.
    pub(super) fn new(pieces: Receiver<Result<Bytes, FetchError>>, ranges: Vec<Range<u64>>) -> Self {
        Self {
            pieces,
            ranges: ranges.into(),
            left: Bytes::new(),
        }
    }

    /// The `len` bytes at `place`, which lies behind what was taken before in the order of the ranges.
    /// Waits for them.
    ///
    /// # Errors
    /// The download's, or these bytes were not asked for. [`InstallError::Cancelled`] if no more
    /// come.
    pub(super) fn take(&mut self, place: u64, len: usize) -> Result<Vec<u8>, ContentFailure> {
        let mut taken = Vec::with_capacity(len);
        while taken.len() < len {
            let wanted = place.saturating_add(taken.len() as u64);
            let Some(range) = self.ranges.front_mut() else {
                return Err(ContentFailure::NotAsked(wanted));
            };
            if range.is_empty() {
                self.ranges.pop_front();
                continue;
            }
            if range.start > wanted {
                return Err(ContentFailure::NotAsked(wanted));
            }
            if self.left.is_empty() {
                let next = self.pieces.blocking_recv();
                self.left = next.ok_or(InstallError::Cancelled)??;
            }
            let here = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let here = here.min(self.left.len());
            let skip = usize::try_from(wanted - range.start).map_or(here, |skip| skip.min(here));
            let end = here.min(skip.saturating_add(len - taken.len()));
            taken.extend_from_slice(&self.left[skip..end]);
            self.left.advance(end);
            range.start += end as u64;
        }
        Ok(taken)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use tokio::sync::mpsc;

    use super::*;

    fn bytes(places: Range<u64>) -> Vec<u8> {
        places.map(|place| u8::try_from(place).unwrap()).collect()
    }

    /// Of a package whose byte at each place is that place.
    fn supply(ranges: &[Range<u64>], piece: usize) -> Supply {
        let bytes: Vec<u8> = ranges.iter().flat_map(|range| bytes(range.clone())).collect();
        let (sender, pieces) = mpsc::channel(bytes.len().max(1));
        for piece in bytes.chunks(piece) {
            sender.try_send(Ok(Bytes::copy_from_slice(piece))).unwrap();
        }
        Supply::new(pieces, ranges.to_vec())
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_lies_there(piece in 1_usize..40, takes in prop::collection::vec((0_u64..9, 1_usize..30), 1..9)) {
            let mut supply = supply(&[3..60, 70..71, 80..200], piece);
            let mut place = 0_u64;
            for (skip, len) in takes {
                place += skip;
                let end = place + len as u64;
                let asked = |at: u64| (3..60).contains(&at) || at == 70 || (80..200).contains(&at);
                match supply.take(place, len) {
                    Ok(taken) => {
                        prop_assert_eq!(taken, bytes(place..end));
                        prop_assert!((place..end).all(asked));
                    }
                    Err(error) => {
                        let told = matches!(error, ContentFailure::NotAsked(_));
                        prop_assert!(told && !(place..end).all(asked), "{}", error);
                        break;
                    }
                }
                place = end;
            }
        }
    }

    #[test]
    fn an_end_before_the_end_is_a_cancel() {
        let (sender, pieces) = mpsc::channel::<Result<Bytes, FetchError>>(1);
        drop(sender);
        let error = Supply::new(pieces, vec![0..5, 6..9]).take(0, 1).unwrap_err();
        assert_eq!(error.to_string(), InstallError::Cancelled.to_string());
    }
}
