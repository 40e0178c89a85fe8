//! Memory that operations take, in bytes.

use payload_format::{Limits, Operation, OperationKind, Replay};

const MIB: u64 = 1 << 20;

/// Data that is held whole, at most; what is longer comes in pieces.
const WHOLE: u64 = Limits::for_slot(0).whole_data;

/// Data that is read before there is room for it, so that nobody waits for the operations that
/// everybody makes.
pub(super) const AHEAD: u64 = 4 * MIB;

/// What a bzip2 decoder of the largest block size holds, with its output buffer.
const DECODER: u64 = 5 * MIB;

/// What an xz or zstd decoder remembers of its output, and what is copied at once, at most.
const WINDOW: u64 = 8 * MIB;

/// What operations take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    /// Bytes per block.
    block: u64,
}

impl Costs {
    /// Where blocks have so many bytes.
    pub(super) const fn with_blocks_of(block: u64) -> Self {
        Self { block }
    }

    /// Bytes of memory that running `operation` takes, its data included.
    pub(super) fn of(self, operation: &Operation) -> u64 {
        let buffers = match operation.kind {
            OperationKind::Replace => 0,
            OperationKind::ReplaceBz => DECODER,
            OperationKind::ReplaceXz | OperationKind::ReplaceZstd => self.window(operation) + MIB,
            OperationKind::Zero | OperationKind::Discard => MIB,
            OperationKind::Move(_) | OperationKind::SourceCopy(_) => self.window(operation),
            // Control, difference and extra data are decoded side by side.
            OperationKind::Patch { .. } => 3 * DECODER,
        };
        // What overwrites its own source holds the result back until all is read.
        let held = if operation.replay == Replay::Never {
            WHOLE
        } else {
            0
        };
        data(operation).saturating_add(buffers).saturating_add(held)
    }

    /// What the decoder of a sane encoder's output remembers: no more than there is. Data that asks
    /// for more than that, up to [`WINDOW`], was made to waste memory, by the trusted key that
    /// signed its hash.
    fn window(self, operation: &Operation) -> u64 {
        operation
            .destination_blocks()
            .saturating_mul(self.block)
            .min(WINDOW)
    }
}

/// Bytes of its data that are held.
pub(super) fn data(operation: &Operation) -> u64 {
    operation.data_len().min(WHOLE)
}
