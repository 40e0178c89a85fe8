//! The pace of one installation: its limits (priorities, bandwidth, pressure, checkpoint intervals),
//! and the pauses between operations while the node is under pressure.
//!
//! Before an operation starts, pressure is looked at, once a second at most. While it is above a
//! limit the operation waits, [`ONE_PAUSE`] at most, so that there is always progress; and once all
//! pauses together have taken [`ALL_PAUSES`], pressure is not looked at any more: an update comes
//! through on a node that is never at rest.

use std::time::{Duration, Instant};

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

/// Longest pause between two operations.
const ONE_PAUSE: Duration = Duration::from_secs(5);

/// Longest time that pauses take away from one download.
const ALL_PAUSES: Duration = Duration::from_secs(30 * 60);

/// How long a look counts.
const LOOK: Duration = Duration::from_secs(1);

/// See the module. Knows no clock: it is told the time.
#[derive(Debug, Default)]
pub(super) struct PressureThrottle {
    /// When pressure was looked at, and whether there was any.
    looked: Option<(Instant, bool)>,
    /// Since when the next operation has been waiting.
    since: Option<Instant>,
    /// By pauses that are over.
    spent: Duration,
}

impl PressureThrottle {
    /// Whether the next operation waits for now. `under_pressure` looks at the node.
    pub(super) fn holds(&mut self, now: Instant, under_pressure: impl FnOnce() -> bool) -> bool {
        if self.spent >= ALL_PAUSES {
            return false;
        }
        let fresh = self
            .looked
            .filter(|(at, _)| now.saturating_duration_since(*at) < LOOK);
        let (_, pressed) = *self
            .looked
            .insert(fresh.unwrap_or_else(|| (now, under_pressure())));
        let began = *self.since.get_or_insert(now);
        let paused = now.saturating_duration_since(began);
        if pressed && paused < ONE_PAUSE {
            return true;
        }
        self.spent += paused;
        self.since = None;
        false
    }

    /// When an operation that waits should ask again; `None` if none waits.
    pub(super) fn again_in(&self, now: Instant) -> Option<Duration> {
        self.since?;
        let (looked, _) = self.looked?;
        Some(LOOK.saturating_sub(now.saturating_duration_since(looked)))
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

    /// How long it takes until so many operations have started that take no time themselves.
    fn run(operations: u32, pressed: impl Fn(u64) -> bool) -> (Duration, PressureThrottle) {
        let (began, mut pressure_throttle) = (Instant::now(), PressureThrottle::default());
        let mut now = began;
        for _ in 0..operations {
            while pressure_throttle.holds(now, || pressed((now - began).as_secs())) {
                now += pressure_throttle
                    .again_in(now)
                    .unwrap_or(Duration::ZERO)
                    .max(Duration::from_millis(1));
            }
        }
        (now - began, pressure_throttle)
    }

    #[test]
    fn without_pressure_nothing_waits() {
        assert_eq!(run(1000, |_| false).0, Duration::ZERO);
    }

    #[test]
    fn an_operation_waits_until_pressure_is_gone() {
        let (took, pressure_throttle) = run(1000, |second| second < 3);
        assert_eq!(took.as_secs(), 3);
        assert_eq!(pressure_throttle.spent.as_secs(), 3);
    }

    #[test]
    fn under_pressure_that_never_ends_one_operation_starts_every_five_seconds() {
        assert_eq!(run(10, |_| true).0.as_secs(), 50);
    }

    #[test]
    fn all_pauses_together_end_after_half_an_hour() {
        let (took, pressure_throttle) = run(100_000, |_| true);
        assert_eq!(took, ALL_PAUSES);
        assert_eq!(pressure_throttle.spent, ALL_PAUSES);
    }
}
