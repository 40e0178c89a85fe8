//! Page of `check --dry-run`. Pure.

use std::fmt::Write as _;

use super::Exit;
use super::time::ago;
use crate::amounts::bytes;
use crate::status::{CheckResult, PreflightCheck, Preview, Prospect};

/// The page of `check --dry-run`.
pub(super) fn page(preview: &Preview, now: i64) -> String {
    let mut page = format!("{:<16} {}\n", "Update", preview.summary);
    if let Some(version) = &preview.version {
        let version = if version.is_empty() { "unknown" } else { version };
        let size = preview
            .bytes_total
            .map_or_else(String::new, |size| format!(", {}", bytes(size)));
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{:<16} {version}{size}", "Offered");
    }
    if let Some(answered) = preview.answered {
        let _ = writeln!(page, "{:<16} {}", "Server's answer", ago(answered, now));
    }
    if let Some(slot) = &preview.slot {
        let _ = writeln!(page, "{:<16} {slot}", "Slot");
    }
    if !preview.checks.is_empty() {
        page += "\n";
    }
    for check in &preview.checks {
        page += &line(check);
    }
    page
}

fn line(check: &PreflightCheck) -> String {
    let result = match check.result {
        CheckResult::Ok => "ok",
        CheckResult::Doubtful => "doubtful",
        CheckResult::Failed => "failed",
    };
    let code = check
        .code
        .map_or_else(String::new, |code| format!("code {code}: "));
    format!("{:<16} {result:<8}  {code}{}\n", check.subject, check.found)
}

/// Exit code that `update` would have, as far as that is known.
pub(super) const fn exit(prospect: Prospect) -> Exit {
    match prospect {
        Prospect::Install => Exit::Done,
        Prospect::NothingOffered => Exit::NothingOffered,
        Prospect::PutOff => Exit::PutOff,
        Prospect::Doubtful | Prospect::Fail => Exit::Failed,
    }
}
