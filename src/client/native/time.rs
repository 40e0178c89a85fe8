//! Times before now as text for people, and the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::amounts::duration;
pub(super) use crate::amounts::utc;

/// Unix time in seconds.
pub(super) fn now() -> i64 {
    // Before 1970 no clock was set.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The time from `time` to `now`, and the time itself, as text.
pub(super) fn ago(time: i64, now: i64) -> String {
    match u64::try_from(now.saturating_sub(time)) {
        Ok(seconds) => format!("{} ago ({})", duration(seconds), utc(time)),
        Err(_) => format!("at {}, which this node's clock has not reached", utc(time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(
            ago(1_700_000_000, 1_700_007_260),
            "2 h 1 min ago (2023-11-14 22:13:20 UTC)"
        );
        let later = "at 2023-11-14 22:13:20 UTC, which this node's clock has not reached";
        assert_eq!(ago(1_700_000_000, 1_699_999_999), later);
    }
}
