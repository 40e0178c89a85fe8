//! Times as text for people.

use std::time::{SystemTime, UNIX_EPOCH};

use super::super::log::civil;
use crate::amounts::duration;

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

/// `yyyy-mm-dd hh:mm:ss UTC` of a Unix time in seconds.
pub(super) fn utc(time: i64) -> String {
    // Before 1970 no clock was set.
    let time = u64::try_from(time).unwrap_or_default();
    let ((year, month, day), second) = (civil(time / 86_400), time % 86_400);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(utc(1_700_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(
            ago(1_700_000_000, 1_700_007_260),
            "2 h 1 min ago (2023-11-14 22:13:20 UTC)"
        );
        let later = "at 2023-11-14 22:13:20 UTC, which this node's clock has not reached";
        assert_eq!(ago(1_700_000_000, 1_699_999_999), later);
        assert_eq!(utc(-1), "1970-01-01 00:00:00 UTC");
    }
}
