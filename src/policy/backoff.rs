//! The back-off: how long a payload that failed isn't tried again.

use super::check_interval::Seed;

/// A day, in seconds.
pub(super) const DAY: i64 = 24 * 60 * 60;
const MOST_DAYS: i64 = 16;
const JITTER_MINUTES: u32 = 6 * 60;

/// Longest back-off that is ever set, in seconds; a later end on disk means that the clock was
/// wrong, then or now.
pub(super) const LONGEST: i64 = MOST_DAYS * DAY + JITTER_MINUTES as i64 * 60;

/// The back-off after so many complete downloads of one offer's payload, in seconds:
/// 2^(attempts - 1) days, at most 16, and up to six hours more or less.
pub(super) fn seconds(attempts: u32, seed: Seed) -> i64 {
    let days = 1_i64
        .checked_shl(attempts.saturating_sub(1))
        .filter(|&days| (1..=MOST_DAYS).contains(&days))
        .unwrap_or(MOST_DAYS);
    days * DAY + seed.within(JITTER_MINUTES) * 60
}
