//! Text of a status, for scripts and for the log.

use crate::bus::StatusFields;

/// The five lines that scripts parse.
///
/// `None` stands for a status that could not be read; it prints what the original's C code made of
/// null pointers.
pub(super) fn key_values(status: Option<&StatusFields>) -> String {
    let (checked, progress, operation, version, size) = match status {
        Some((checked, progress, operation, version, size)) => {
            (*checked, *progress, operation.as_str(), version.as_str(), *size)
        }
        None => (0, 0.0, "(null)", "(null)", 0),
    };
    format!(
        "LAST_CHECKED_TIME={checked}\nPROGRESS={progress:.6}\nCURRENT_OP={operation}\n\
         NEW_VERSION={version}\nNEW_SIZE={size}\n"
    )
}

/// The log lines for a signal.
pub(super) fn update_lines(status: &StatusFields) -> [String; 6] {
    let (checked, progress, operation, version, size) = status;
    [
        "Got status update:".to_owned(),
        format!("  last_checked_time: {checked}"),
        format!("  progress: {}", general(*progress)),
        format!("  current_operation: {operation}"),
        format!("  new_version: {version}"),
        format!("  new_size: {size}"),
    ]
}

/// A number as C++ streams print it: six significant digits, no trailing zeros (`%g`).
fn general(value: f64) -> String {
    let scientific = format!("{value:.5e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific; // inf and NaN
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match usize::try_from(5 - exponent) {
        Ok(decimals) if exponent >= -4 => without_trailing_zeros(&format!("{value:.decimals$}")).to_owned(),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", without_trailing_zeros(mantissa), exponent.abs())
        }
    }
}

fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_five_lines_of_key_and_value() {
        let status = (
            1_700_000_000,
            0.123_456_789,
            "UPDATE_STATUS_DOWNLOADING".to_owned(),
            "4081.2.0".to_owned(),
            2_514_292,
        );
        assert_eq!(
            key_values(Some(&status)),
            "LAST_CHECKED_TIME=1700000000\nPROGRESS=0.123457\nCURRENT_OP=UPDATE_STATUS_DOWNLOADING\n\
             NEW_VERSION=4081.2.0\nNEW_SIZE=2514292\n"
        );
    }

    #[test]
    fn a_status_that_could_not_be_had_still_has_a_value_on_each_line() {
        assert_eq!(
            key_values(None),
            "LAST_CHECKED_TIME=0\nPROGRESS=0.000000\nCURRENT_OP=(null)\nNEW_VERSION=(null)\nNEW_SIZE=0\n"
        );
    }

    #[test]
    fn progress_in_the_log_is_as_cpp_streams_print_it() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (1.0 / 3.0, "0.333333"),
            (0.000_123_456_7, "0.000123457"),
            (0.000_012_345, "1.2345e-05"),
            (123_456.7, "123457"),
            (1_234_567.0, "1.23457e+06"),
            (0.999_999_9, "1"),
        ] {
            assert_eq!(general(value), text);
        }
    }
}
