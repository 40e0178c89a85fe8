//! Times for people.

use super::super::log::civil;

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
        assert_eq!(utc(-1), "1970-01-01 00:00:00 UTC");
    }
}
