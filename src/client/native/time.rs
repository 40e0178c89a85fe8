//! Times and amounts for people.

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

/// Bytes in the unit that leaves few digits.
pub(super) fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut shift = 0;
    for unit in units {
        if count >> (shift + 10) < 1024 {
            // Tenths of the unit, rounded down: never more than there is.
            let tenths = (count >> shift).saturating_mul(10) >> 10;
            return match tenths {
                _ if count < 1024 => format!("{count} B"),
                tenths => format!("{}.{} {unit}", tenths / 10, tenths % 10),
            };
        }
        shift += 10;
    }
    format!("{} PiB", count >> 50)
}

/// Seconds as hours, minutes and seconds.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_amounts_read_well() {
        assert_eq!(utc(1_700_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(utc(-1), "1970-01-01 00:00:00 UTC");
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (2_514_292, "2.3 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(duration(7), "7 s");
        assert_eq!(duration(3599), "59 min 59 s");
        assert_eq!(duration(7260), "2 h 1 min");
    }
}
