//! The read-back thread: hashes the synced part of the slot while more is being written.
//!
//! Once a checkpoint's sync has returned, nothing below the first block that a later operation
//! writes will change again. That much is read back right away, on a thread of its own. In payloads
//! whose operations come in the order of their blocks, as full ones do, little is left for the end.

use std::error::Error;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use payload_format::{Extent, ImageKind, Manifest, OpId, Operation};
use tokio_util::sync::CancellationToken;

use crate::install::read_back::ReadBack;

/// The page cache holds pieces of up to some MiB; one that is dirty in part keeps what was written
/// before it. So much is left alone until there is more, so that what is read does come from the
/// medium.
const MARGIN: u64 = 4 << 20;

/// The thread that reads back. Stopped and joined when dropped.
pub(super) struct ReadBackThread {
    settled: Settled,
    orders: Option<mpsc::Sender<u64>>,
    thread: Option<JoinHandle<ReadBack>>,
    stop: CancellationToken,
}

impl ReadBackThread {
    /// Begins with `read_back`, which was told nothing yet.
    pub(super) fn begin(manifest: &Manifest, mut read_back: ReadBack, cancel: &CancellationToken) -> Self {
        let (orders, ends) = mpsc::channel();
        let stop = cancel.child_token();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while let Ok(end) = ends.recv() {
                if let Err(error) = read_back.advance(end, &stopped) {
                    // Tried again in the end, when it counts.
                    tracing::warn!(
                        error = &error as &dyn Error,
                        "can't read back yet what was written"
                    );
                }
            }
            read_back
        });
        Self {
            settled: Settled::of(manifest),
            orders: Some(orders),
            thread: Some(thread),
            stop,
        }
    }

    /// Everything that the operations below `next` wrote is on the medium.
    pub(super) fn synced_below(&self, next: OpId) {
        let end = self.settled.below(next).saturating_sub(MARGIN);
        if let Some(orders) = &self.orders {
            // The thread only goes when the sender does.
            let _ = orders.send(end);
        }
    }

    /// What was read back so far. To be called once nothing is left to be written but what no
    /// operation writes.
    pub(super) fn end(mut self) -> Option<ReadBack> {
        self.orders = None;
        match self.thread.take().map(JoinHandle::join)? {
            Ok(read_back) => Some(read_back),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for ReadBackThread {
    fn drop(&mut self) {
        self.stop.cancel();
        self.orders = None;
        // It holds the target, which must be free when the attempt is over. A panic ended nothing
        // but itself.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// How much of the partition's beginning no operation from a given one on writes, in bytes.
#[derive(Debug)]
struct Settled {
    /// By the operation's index.
    below: Vec<u64>,
    /// After the last one.
    end: u64,
}

impl Settled {
    fn of(manifest: &Manifest) -> Self {
        let image = manifest.image(ImageKind::Slot);
        let copied_later = image.and_then(|image| image.unwritten.first());
        let block = manifest.block_size().bytes();
        Self::new(
            manifest.operations(),
            copied_later.map(|blocks| blocks.start()),
            block,
        )
    }

    /// Of operations, and the first block that is copied once they are done; blocks have so many
    /// bytes.
    fn new(operations: &[Operation], copied_later: Option<u64>, block: u64) -> Self {
        let bytes = |blocks: Option<u64>| blocks.map_or(u64::MAX, |blocks| blocks.saturating_mul(block));
        let end = bytes(copied_later);
        let mut lowest = end;
        let partition = |operation: &&Operation| operation.image == ImageKind::Slot;
        let mut below: Vec<u64> = operations
            .iter()
            .rev()
            .map(|operation| {
                let written = Some(operation).filter(partition);
                let first =
                    written.and_then(|op| op.destination.iter().copied().filter_map(first_block).min());
                lowest = lowest.min(bytes(first));
                lowest
            })
            .collect();
        below.reverse();
        Self { below, end }
    }

    fn below(&self, next: OpId) -> u64 {
        self.below.get(next.index()).copied().unwrap_or(self.end)
    }
}

fn first_block(extent: Extent) -> Option<u64> {
    match extent {
        Extent::Blocks(range) => Some(range.start()),
        Extent::Hole(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payload_format::{BlockRange, OperationKind, Replay};

    use super::*;

    fn operation(index: u32, image: ImageKind, destination: Vec<Extent>) -> Operation {
        Operation {
            id: OpId::new(index),
            image,
            kind: OperationKind::Zero,
            destination,
            data: None,
            after: None,
            replay: Replay::Safe,
        }
    }

    fn blocks(start: u64, end: u64) -> Extent {
        Extent::Blocks(BlockRange::new(start, end).unwrap())
    }

    fn settled(operations: &[Operation], copied_later: Option<u64>) -> Vec<u64> {
        let settled = Settled::new(operations, copied_later, 10);
        let ends = 0..=u32::try_from(operations.len()).unwrap();
        ends.map(|next| settled.below(OpId::new(next))).collect()
    }

    #[test]
    fn in_the_order_of_blocks_everything_before_the_next_operation_is_settled() {
        let (image, file) = (ImageKind::Slot, ImageKind::Kernel);
        let operations = [
            operation(0, image, vec![blocks(0, 5)]),
            operation(1, image, vec![Extent::Hole(9), blocks(5, 7)]),
            operation(2, file, vec![blocks(0, 1)]),
        ];
        assert_eq!(settled(&operations, None), [0, 50, u64::MAX, u64::MAX]);
    }

    #[test]
    fn nothing_is_settled_that_a_later_operation_writes_again() {
        let image = ImageKind::Slot;
        let operations = [
            operation(0, image, vec![blocks(0, 9)]),
            operation(1, image, vec![blocks(20, 30), blocks(4, 6)]),
            operation(2, image, vec![blocks(9, 20)]),
        ];
        assert_eq!(settled(&operations, None), [0, 40, 90, u64::MAX]);
    }

    #[test]
    fn blocks_that_are_copied_in_the_end_are_not_settled_before() {
        let operations = [operation(0, ImageKind::Slot, vec![blocks(0, 9)])];
        assert_eq!(settled(&operations, Some(5)), [0, 50]);
    }
}
