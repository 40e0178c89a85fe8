//! The state in one line, as `systemctl status` shows it: pure.

use crate::printable::printable;
use crate::status::Overview;

/// The summary, with progress while something is downloaded. Another line would be another message
/// to the service manager.
pub(super) fn of(overview: &Overview) -> String {
    let mut line = printable(&overview.summary).replace(['\r', '\n'], " ");
    if let Some(first) = line.get(..1) {
        let first = first.to_uppercase();
        line.replace_range(..1, &first);
    }
    match &overview.progress.0 {
        Some(transfer) => format!("{line}: {transfer}"),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Transfer;

    #[test]
    fn progress_stands_behind_the_summary() {
        let mut overview = Overview {
            summary: "downloading 2345.0.0 into the other slot".to_owned(),
            ..Overview::default()
        };
        assert_eq!(of(&overview), "Downloading 2345.0.0 into the other slot");
        overview.progress = Some(Transfer {
            bytes_done: 35 << 20,
            bytes_total: 100 << 20,
            bytes_per_second: Some(5 << 20),
            eta_seconds: Some(13),
        })
        .into();
        assert_eq!(
            of(&overview),
            "Downloading 2345.0.0 into the other slot: 35 %, 35.0 MiB of 100.0 MiB, 5.0 MiB/s, 13 s left"
        );
    }

    #[test]
    fn a_state_without_words_or_with_foreign_ones_stays_as_it_is() {
        assert_eq!(of(&Overview::default()), "");
        let several = Overview {
            summary: "no update: a\nREADY=1\u{202e}".to_owned(),
            ..Overview::default()
        };
        assert_eq!(of(&several), "No update: a READY=1\\u{202e}");
        let foreign = Overview {
            summary: "éclair".to_owned(),
            ..Overview::default()
        };
        assert_eq!(of(&foreign), "éclair");
    }
}
