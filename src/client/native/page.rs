//! Pages of `status`, `why`, `slots` and `check --dry-run`. Pure.

use std::fmt::Write as _;

use super::Exit;
use super::time::{ago, utc};
use crate::amounts::bytes;
use crate::omaha::{ErrorCode, Explanation};
use crate::status::{
    CheckResult, Diagnostics, FailureReport, Obstacle, Overview, PreflightCheck, Preview, Prospect, Transfer,
};

/// The page of `status`; `deadline` says who ends a hang, where somebody would.
pub(super) fn status(
    overview: &Overview,
    diagnostics: Option<&Diagnostics>,
    deadline: Option<&str>,
) -> String {
    let mut page = Page::default();
    page.row("State", &overview.summary);
    page.row("Running version", known(&overview.running_version));
    if !overview.waiting_version.is_empty() {
        page.row("Next version", &overview.waiting_version);
    }
    if let Some(transfer) = &overview.progress.0 {
        page.row("Progress", &transfer.to_string());
    }
    if !overview.trial.is_empty() {
        page.row("On trial", &overview.trial);
    }
    if let Some(deadline) = deadline {
        page.row("Trial deadline", deadline);
    }
    match &overview.last_check.0 {
        Some(check) => page.row("Last check", &format!("{}: {}", utc(check.time), check.outcome)),
        None => page.row("Last check", "none since the engine's start"),
    }
    if let Some(next) = &overview.next_check.0 {
        let time = next.time.map_or_else(|| "none".to_owned(), utc);
        page.row("Next check", &format!("{time}: {}", next.why));
    }
    page.extension_warnings(overview);
    page.troubles(overview, diagnostics);
    page.health_warnings(overview);
    page.boot_warnings(overview);
    format!("{}\n{}", page.0, slots(overview))
}

/// The page of `why`.
pub(super) fn why(overview: &Overview, diagnostics: Option<&Diagnostics>) -> String {
    let mut page = Page::default();
    match &overview.no_update.0 {
        Some(no_update) => {
            page.row("No update", &no_update.reason);
            if let Some(until) = no_update.until {
                page.row("", &format!("until {}", utc(until)));
            }
            page.row("", what_next(no_update.kind));
        }
        None => page.row("State", &overview.summary),
    }
    if !overview.trial.is_empty() {
        page.row("On trial", &overview.trial);
    }
    // A server that is switched off is no failure of the network, for which its code's remedy is.
    let is_switched_off = |failure: &&FailureReport| {
        let no_update = overview.no_update.0.as_ref();
        no_update.is_some_and(|no| no.kind == Obstacle::Disabled && no.reason == failure.sentence)
    };
    if let Some(failure) = overview.last_failure.0.as_ref().filter(|f| !is_switched_off(f)) {
        page.failure(failure);
    }
    page.rollback(overview, diagnostics);
    page.health_warnings(overview);
    page.extension_warnings(overview);
    page.boot_warnings(overview);
    for warning in overview.config_warnings.iter().flatten() {
        page.row("Configuration", warning);
    }
    page.0
}

/// The table of slots.
pub(super) fn slots(overview: &Overview) -> String {
    if overview.slots.is_empty() {
        let reason = match overview.trial.as_str() {
            "" => "look at journalctl -u update-engine",
            reason => reason,
        };
        return format!("The slots can't be read: {reason}\n");
    }
    let mut table = "slot    runs  version         priority  tries  successful\n".to_owned();
    for slot in &overview.slots {
        let version = slot.version.as_deref().unwrap_or("unknown");
        let yes = |is: bool| if is { "yes" } else { "no" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "{:<7} {:<5} {version:<15} {:<9} {:<6} {}",
            slot.name,
            yes(slot.running),
            slot.priority,
            slot.tries,
            yes(slot.successful)
        );
    }
    table
}

/// One line about a download, after a bar.
pub(super) fn bar(transfer: &Transfer) -> String {
    let filled = usize::try_from(transfer.percent() / 4).unwrap_or(25).min(25);
    format!("[{:<25}] {}", "#".repeat(filled), transfer)
}

const fn what_next(kind: Obstacle) -> &'static str {
    match kind {
        Obstacle::NoneOffered => {
            "nothing to do, unless the group or the server in update.conf is not the one you mean"
        }
        Obstacle::Backoff => "another offer does not wait, nor one for which the server disables backoff",
        Obstacle::Disabled => "set SERVER in /etc/flatcar/update.conf to be updated",
        Obstacle::RolledBack => "update_engine_client update installs it all the same",
        Obstacle::OnTrial => {
            "make the node healthy, or mark it good as it is: update_engine_client mark-good"
        }
        // The reason says it.
        Obstacle::Refused => "",
        Obstacle::Failed => "see below",
    }
}

/// A sentence of the documentation for a terminal: a link to another page becomes its path.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((name, (page, after))) = link
            .split_once("](")
            .and_then(|(name, target)| Some((name, target.split_once(')')?)))
        else {
            break;
        };
        text += before;
        text += if name == page { "docs/" } else { name };
        text += if name == page { page } else { "" };
        rest = after;
    }
    text + rest
}

fn known(version: &str) -> &str {
    if version.is_empty() { "unknown" } else { version }
}

/// A page of rows, each a label and a text.
#[derive(Default)]
struct Page(String);

impl Page {
    fn row(&mut self, label: &str, text: &str) {
        let mut label = label;
        for line in text.lines() {
            let _ = writeln!(self.0, "{label:<16} {line}");
            label = "";
        }
    }

    fn troubles(&mut self, overview: &Overview, diagnostics: Option<&Diagnostics>) {
        if let Some(failure) = &overview.last_failure.0 {
            self.row(
                "Last failure",
                &format!("code {}: {}", failure.code, failure.sentence),
            );
            self.causes(failure);
        }
        self.rollback(overview, diagnostics);
    }

    fn health_warnings(&mut self, overview: &Overview) {
        for warning in overview.health_warnings.iter().flatten() {
            self.row("Worse", warning);
        }
    }

    fn boot_warnings(&mut self, overview: &Overview) {
        for warning in overview.boot_warnings.iter().flatten() {
            self.row("May not boot", warning);
        }
    }

    fn extension_warnings(&mut self, overview: &Overview) {
        for warning in overview.extension_warnings.iter().flatten() {
            self.row("Extension", warning);
        }
    }

    fn failure(&mut self, failure: &FailureReport) {
        self.row("Last failure", &failure.sentence);
        self.causes(failure);
        self.row("Code", &failure.code.to_string());
        if let Some(Explanation { meaning, remedy }) =
            ErrorCode::from_number(failure.code).map(ErrorCode::explanation)
        {
            self.row("", &plain(meaning));
            self.row("What to do", &plain(remedy));
        }
    }

    fn causes(&mut self, failure: &FailureReport) {
        for cause in &failure.causes {
            self.row("", &format!("because: {cause}"));
        }
    }

    fn rollback(&mut self, overview: &Overview, diagnostics: Option<&Diagnostics>) {
        let Some(rollback) = &overview.rollback.0 else {
            return;
        };
        let version = known(&rollback.version);
        let noticed = utc(rollback.noticed);
        self.row(
            "Rolled back",
            &format!("from version {version}, noticed {noticed}"),
        );
        self.row("", &format!("because: {}", rollback.cause));
        let said = diagnostics.map_or("", |diagnostics| diagnostics.rollback_output.as_str());
        for line in said.lines() {
            self.row("", &format!("| {line}"));
        }
        if diagnostics.is_none() {
            self.row("", "(root sees what it said)");
        }
    }
}

/// The page of `check --dry-run`.
pub(super) fn preview(preview: &Preview, now: i64) -> String {
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
        page += &check_line(check);
    }
    page
}

fn check_line(check: &PreflightCheck) -> String {
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
pub(super) const fn preview_exit(prospect: Prospect) -> Exit {
    match prospect {
        Prospect::Install => Exit::Done,
        Prospect::NothingOffered => Exit::NothingOffered,
        Prospect::PutOff => Exit::PutOff,
        Prospect::Doubtful | Prospect::Fail => Exit::Failed,
    }
}
