//! Sizes and durations as text for people.

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
}
