//! Sizes, durations and times as text for people.

/// `count` bytes as text, in the unit that leaves few digits.
#[must_use]
pub fn bytes(count: u64) -> String {
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

/// `seconds` as text, in hours, minutes and seconds.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `yyyy-mm-dd hh:mm:ss UTC` of a Unix time in seconds.
#[must_use]
pub fn utc(time: i64) -> String {
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

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Counted in years that begin on 1 March, so that the leap day comes last, in eras of 400 years
/// (146,097 days).
pub(crate) fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468; // from 1970-01-01 back to 0000-03-01
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
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

    #[test]
    fn times_read_well() {
        assert_eq!(utc(1_700_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(utc(-1), "1970-01-01 00:00:00 UTC");
    }

    #[test]
    fn days_become_dates() {
        for (day, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (20_818, (2026, 12, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(day), date, "day {day}");
        }
    }
}
