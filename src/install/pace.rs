//! Resource limits of one installation: priorities, bandwidth, pressure, checkpoint intervals.

use std::time::Duration;

use crate::disk::Priority;
use crate::host::PressureLimits;

const MIB: u64 = 1 << 20;

/// More would not fit: what a thread has freed stays with it, 5 MiB after a bzip2 stream. With
/// eight of them a daemon peaked at 64.6 MiB for a payload of 1 GiB.
const MOST_WORKERS: usize = 4;

/// Limits of one installation. The defaults keep the whole daemon below 64 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes that the manifest and operations in flight may hold: data, decoder state, patch
    /// buffers. Operations have a third of it whatever the manifest takes.
    pub memory: u64,
    /// Bytes of payload that may wait between the network and the reader.
    pub read_ahead: u32,
    /// Bytes written to the slot after which it is synced and a checkpoint taken.
    pub bytes: u64,
    /// Time after which a checkpoint is taken even if little was written: what a slow link loses in
    /// a cut.
    pub interval: Duration,
    /// Threads that decode and write, at least 1.
    pub workers: usize,
    /// How the threads of download and verification claim processor and disk.
    pub priority: Priority,
    /// From which pressure on operations wait, each 5 seconds at most and all together half an
    /// hour.
    pub pressure: PressureLimits,
}

impl Pace {
    /// What is left for operations in flight, in bytes, beside a manifest that takes so many.
    pub(super) fn left_by(&self, manifest: u64) -> u64 {
        self.memory.saturating_sub(manifest).max(self.memory / 3)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            memory: 24 * MIB,
            read_ahead: 1 << 20,
            bytes: 16 * MIB,
            interval: Duration::from_secs(2),
            workers: std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_WORKERS)),
            priority: Priority::Normal,
            pressure: PressureLimits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_manifest_leaves_operations_less_but_never_nothing() {
        let pace = Pace {
            memory: 24,
            ..Pace::default()
        };
        let left = [0, 5, 16, 20, u64::MAX].map(|manifest| pace.left_by(manifest));
        assert_eq!(left, [24, 19, 8, 8, 8]);
    }
}
