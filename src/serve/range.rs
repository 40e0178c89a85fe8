//! Range requests (RFC 9110, sections 13.1.5 and 14). Pure.

/// The part of a file to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePart {
    /// All of it (200).
    Whole,
    /// `len` bytes from `first` (206).
    Range {
        /// Offset of the first byte.
        first: u64,
        /// Bytes to send, above 0.
        len: u64,
    },
    /// The range lies past the end (416).
    Unsatisfiable,
}

impl FilePart {
    /// What `range` and `if_range`, the values of these headers, ask of a file of `len` bytes
    /// tagged `etag`. A range that isn't understood, has several parts, or is for another entity,
    /// asks for the whole file, as the RFC wants.
    #[must_use]
    pub fn requested(range: Option<&str>, if_range: Option<&str>, etag: &str, len: u64) -> Self {
        match range.and_then(|range| range.strip_prefix("bytes=")) {
            Some(spec) if if_range.is_none_or(|wanted| wanted == etag) => {
                parse(spec.trim(), len).unwrap_or(Self::Whole)
            }
            _ => Self::Whole,
        }
    }
}

fn parse(spec: &str, len: u64) -> Option<FilePart> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = digits(last)?.min(len);
        return Some(part(len - suffix, len, len));
    }
    let first = digits(first)?;
    if last.is_empty() {
        return Some(part(first, len, len));
    }
    let end = digits(last)?.saturating_add(1);
    (end > first).then(|| part(first, end, len))
}

/// Decimal digits only: `u64::from_str` would also take a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn part(first: u64, end: u64, len: u64) -> FilePart {
    match end.min(len).checked_sub(first) {
        None | Some(0) => FilePart::Unsatisfiable,
        Some(len) => FilePart::Range { first, len },
    }
}

#[cfg(test)]
mod tests {
    use super::FilePart::{self, Range, Unsatisfiable, Whole};

    const TAG: &str = "\"abc\"";

    #[test]
    fn a_range_is_what_the_rfc_says() {
        let cases = [
            ("bytes=0-", Range { first: 0, len: 100 }),
            ("bytes=10-19", Range { first: 10, len: 10 }),
            ("bytes=10-1000", Range { first: 10, len: 90 }),
            ("bytes=99-18446744073709551615", Range { first: 99, len: 1 }),
            ("bytes=-30", Range { first: 70, len: 30 }),
            ("bytes=-300", Range { first: 0, len: 100 }),
            ("bytes=100-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=20-10", Whole),
            ("bytes=0-1,5-6", Whole),
            ("bytes=+1-5", Whole),
            ("bytes=-", Whole),
            ("bytes=99999999999999999999-", Whole),
            ("lines=1-2", Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(
                FilePart::requested(Some(range), None, TAG, 100),
                expected,
                "{range}"
            );
        }
    }

    #[test]
    fn a_range_of_another_entity_asks_for_all_of_this_one() {
        assert_eq!(
            FilePart::requested(Some("bytes=5-"), Some("\"old\""), TAG, 10),
            Whole
        );
        assert_eq!(
            FilePart::requested(Some("bytes=5-"), Some(TAG), TAG, 10),
            Range { first: 5, len: 5 }
        );
        assert_eq!(
            FilePart::requested(Some("bytes=5-"), Some("W/\"abc\""), TAG, 10),
            Whole
        );
    }
}
