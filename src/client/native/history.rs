//! Table of attempts. Pure.

use std::fmt::Write as _;

use super::time::utc;
use crate::amounts::{bytes, duration};
use crate::status::{AttemptReport, AttemptState, Trigger};

const HEADINGS: [&str; 8] = [
    "began", "from", "to", "slot", "asked by", "fetched", "took", "outcome",
];

/// One row per attempt, oldest first, and below it the reason of its end.
pub(super) fn table(attempts: &[AttemptReport]) -> String {
    if attempts.is_empty() {
        return "no attempt at an update is remembered\n".to_owned();
    }
    let rows: Vec<_> = attempts.iter().map(row).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut table = line(&HEADINGS.map(str::to_owned), &widths);
    for (attempt, row) in attempts.iter().zip(&rows) {
        table += &line(row, &widths);
        // Writing to a String cannot fail.
        if let Some(content) = content(attempt) {
            let _ = writeln!(table, "    {content}");
        }
        if let Some(reason) = &attempt.reason {
            let code = attempt
                .code
                .map_or_else(String::new, |code| format!("code {code}: "));
            let _ = writeln!(table, "    {code}{reason}");
        }
    }
    table
}

fn line(cells: &[String; 8], widths: &[usize; 8]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(line, "{cell:<width$}  ");
    }
    format!("{}\n", line.trim_end())
}

fn row(attempt: &AttemptReport) -> [String; 8] {
    let known = |version: &str| {
        if version.is_empty() {
            "unknown".to_owned()
        } else {
            version.to_owned()
        }
    };
    [
        utc(attempt.began),
        known(&attempt.from),
        known(&attempt.to),
        attempt.slot.clone(),
        match attempt.asked_by {
            Trigger::Schedule => "schedule".to_owned(),
            Trigger::Operator => "operator".to_owned(),
        },
        fetched(attempt),
        took(attempt),
        outcome(attempt),
    ]
}

/// Bytes fetched; not known for an attempt that was cut.
fn fetched(attempt: &AttemptReport) -> String {
    match (attempt.ended, attempt.bytes_resumed) {
        (None, _) => "-".to_owned(),
        (Some(_), 0) => bytes(attempt.bytes_fetched),
        (Some(_), resumed) => format!("{} after {}", bytes(attempt.bytes_fetched), bytes(resumed)),
    }
}

/// What came of the content package, if one was tried.
fn content(attempt: &AttemptReport) -> Option<String> {
    let name = attempt.content_package.as_ref()?;
    let fetched = bytes(attempt.content_fetched.unwrap_or_default());
    let expected = attempt.content_expected.map(bytes);
    let of = expected.map_or_else(String::new, |expected| format!(" of {expected}"));
    let given_up = attempt.content_failure.as_ref();
    let given_up = given_up.map_or_else(String::new, |why| format!(", given up: {why}"));
    Some(format!("content package {name}: {fetched}{of} fetched{given_up}"))
}

fn took(attempt: &AttemptReport) -> String {
    let seconds = attempt.download_seconds.saturating_add(attempt.finish_seconds);
    attempt
        .ended
        .map_or_else(|| "-".to_owned(), |_| duration(seconds))
}

fn outcome(attempt: &AttemptReport) -> String {
    let words = match attempt.outcome {
        AttemptState::UnderWay => "under way",
        AttemptState::Failed => "failed",
        AttemptState::Interrupted => "interrupted",
        AttemptState::Staged => "staged, waits for its activation",
        AttemptState::Waiting => "installed, waits for the reboot",
        AttemptState::Withdrawn => "installed, withdrawn before it ran",
        AttemptState::OnTrial => "runs, on trial",
        AttemptState::Kept => "booted, found good",
        AttemptState::RolledBack => "rolled back",
        AttemptState::Unknown => "unknown to this version",
    };
    match attempt.times {
        0 | 1 => words.to_owned(),
        times => format!("{words}, {times} times in a row"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> AttemptReport {
        AttemptReport {
            began: 1_700_000_000,
            ended: Some(1_700_000_075),
            from: "1.0.0".to_owned(),
            to: "2.0.0".to_owned(),
            slot: "USR-B".to_owned(),
            payload_sha256: "00".repeat(32),
            bytes_total: 3 << 20,
            bytes_resumed: 0,
            bytes_fetched: 3 << 20,
            content_package: None,
            content_expected: None,
            content_fetched: None,
            content_failure: None,
            download_seconds: 60,
            finish_seconds: 15,
            asked_by: Trigger::Schedule,
            outcome: AttemptState::Kept,
            code: None,
            reason: None,
            times: 1,
        }
    }

    #[test]
    fn each_attempt_is_a_row_and_its_reason_stands_below() {
        let cut = AttemptReport {
            ended: None,
            outcome: AttemptState::Interrupted,
            reason: Some("the power was cut, or the daemon was killed".to_owned()),
            ..attempt()
        };
        let resumed = AttemptReport {
            bytes_resumed: 1 << 20,
            bytes_fetched: 1 << 20,
            outcome: AttemptState::Failed,
            asked_by: Trigger::Operator,
            code: Some(10),
            reason: Some("the payload is another".to_owned()),
            times: 3,
            ..attempt()
        };
        let by_content = AttemptReport {
            content_package: Some("update.content".to_owned()),
            content_expected: Some(2 << 20),
            content_fetched: Some(1 << 20),
            content_failure: Some("chunk 7 is not what the manifest says".to_owned()),
            ..attempt()
        };
        assert_eq!(
            table(&[attempt(), cut, resumed, by_content]),
            "\
began                    from   to     slot   asked by  fetched                took        outcome
2023-11-14 22:13:20 UTC  1.0.0  2.0.0  USR-B  schedule  3.0 MiB                1 min 15 s  booted, found good
2023-11-14 22:13:20 UTC  1.0.0  2.0.0  USR-B  schedule  -                      -           interrupted
    the power was cut, or the daemon was killed
2023-11-14 22:13:20 UTC  1.0.0  2.0.0  USR-B  operator  1.0 MiB after 1.0 MiB  1 min 15 s  failed, 3 times in a row
    code 10: the payload is another
2023-11-14 22:13:20 UTC  1.0.0  2.0.0  USR-B  schedule  3.0 MiB                1 min 15 s  booted, found good
    content package update.content: 1.0 MiB of 2.0 MiB fetched, given up: chunk 7 is not what the manifest says
"
        );
        assert_eq!(table(&[]), "no attempt at an update is remembered\n");
    }
}
