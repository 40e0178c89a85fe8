//! Page of `health`. Pure.

use std::fmt::Write as _;

use super::time::utc;
use crate::amounts::duration;
use crate::status::{HealthFinding, HealthReport};

/// Columns of a line.
const WIDTH: usize = 100;
/// Columns of a label.
const LABEL: usize = 16;

/// What is recorded and required, and what the last comparison found, before and after.
pub(super) fn page(report: &HealthReport) -> String {
    let mut page = HealthPage::default();
    page.row("Gate", gate(&report.mode));
    page.row("Recorded", &recorded(report));
    page.list("Required", &required(report));
    page.list("Failed before", &report.failed_before);
    page.list("Excused", &report.excused);
    page.row("Compared", &compared(report));
    if let Some(reason) = &report.reason {
        page.row("", &format!("because: {reason}"));
    }
    page.findings(
        "Missing",
        report.findings.iter().filter(|finding| finding.certain),
    );
    page.findings("Worse", report.findings.iter().filter(|finding| !finding.certain));
    page.0 + &table(&report.findings)
}

fn gate(mode: &str) -> &str {
    match mode {
        "rollback" => "rollback: what an update has certainly lost takes the node back",
        "report" => "report: what an update has lost is told, and the new slot kept",
        "off" => "off: nothing is recorded or compared",
        "" => "not known: the configuration can't be read",
        other => other,
    }
}

fn recorded(report: &HealthReport) -> String {
    let Some(recorded) = report.recorded else {
        return "nothing: a good slot is recorded once it has been up for ten minutes".to_owned();
    };
    let version = report
        .recorded_version
        .as_deref()
        .filter(|version| !version.is_empty());
    let up = duration(report.recorded_up.unwrap_or_default());
    format!(
        "{}, of version {} after {up}",
        utc(recorded),
        version.unwrap_or("unknown")
    )
}

fn required(report: &HealthReport) -> Vec<String> {
    let of = |kind: &str, names: &[String]| -> Vec<String> {
        names.iter().map(|name| format!("{kind} {name}")).collect()
    };
    let route = report.required_route.then(|| "a default route".to_owned());
    let mut all = of("extension", &report.required_extensions);
    all.extend(of("confext", &report.required_confexts));
    all.extend(route);
    all.extend(report.required_units.iter().cloned());
    all
}

fn compared(report: &HealthReport) -> String {
    let Some(compared) = report.compared else {
        return "no slot yet".to_owned();
    };
    let version = report
        .compared_version
        .as_deref()
        .filter(|version| !version.is_empty());
    let outcome = match report.outcome.as_deref() {
        Some("as-before") => "all is as it was",
        Some("kept") => "something is worse, and the slot was kept",
        Some("left") => "something was lost, and the slot was left",
        Some("not-compared") => "nothing could be compared, and nothing was required",
        _ => "with an outcome that this client doesn't know",
    };
    format!(
        "{}, version {}: {outcome}",
        utc(compared),
        version.unwrap_or("unknown")
    )
}

/// What was found, before and after.
fn table(findings: &[HealthFinding]) -> String {
    let subject = |finding: &HealthFinding| match finding.subject.as_str() {
        "unit" | "route" => finding.name.clone(),
        kind => format!("{kind} {}", finding.name),
    };
    let rows: Vec<(String, &HealthFinding)> = findings
        .iter()
        .map(|finding| (subject(finding), finding))
        .collect();
    let width =
        |texts: &dyn Fn(&(String, &HealthFinding)) -> usize| rows.iter().map(texts).max().unwrap_or(0);
    let first = width(&|(subject, _)| subject.chars().count());
    let second = width(&|(_, finding)| finding.before.chars().count()).max("before".len());
    let mut table = String::new();
    if !rows.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(table, "\n{:first$}  {:second$}  now", "", "before");
    }
    for (subject, finding) in &rows {
        let _ = writeln!(
            table,
            "{subject:first$}  {:second$}  {}",
            finding.before, finding.now
        );
    }
    table
}

/// Rows, each a label and a text.
#[derive(Default)]
struct HealthPage(String);

impl HealthPage {
    fn row(&mut self, label: &str, text: &str) {
        let _ = writeln!(self.0, "{label:<LABEL$} {text}");
    }

    /// Names, as many as fit on a line.
    fn list(&mut self, label: &str, names: &[String]) {
        let (mut label, mut line) = (label, String::new());
        for name in names {
            if !line.is_empty() && LABEL + 1 + line.chars().count() + 2 + name.chars().count() > WIDTH {
                self.row(label, &line);
                (label, line) = ("", String::new());
            }
            let separator = if line.is_empty() { "" } else { ", " };
            line = line + separator + name;
        }
        if !line.is_empty() {
            self.row(label, &line);
        }
    }

    fn findings<'a>(&mut self, label: &str, findings: impl Iterator<Item = &'a HealthFinding>) {
        let mut label = label;
        for finding in findings {
            self.row(label, &finding.sentence);
            label = "";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_what_was_what_is_required_and_what_was_found() {
        let report = HealthReport {
            mode: "rollback".to_owned(),
            recorded: Some(0),
            recorded_version: Some("1.0.0".to_owned()),
            recorded_up: Some(7200),
            required_units: (0..9)
                .map(|number| format!("unit-number-{number}.service"))
                .collect(),
            required_extensions: vec!["docker".to_owned()],
            required_route: true,
            compared: Some(60),
            compared_version: Some("2.0.0".to_owned()),
            outcome: Some("left".to_owned()),
            findings: vec![HealthFinding {
                subject: "extension".to_owned(),
                name: "docker".to_owned(),
                certain: true,
                before: "merged".to_owned(),
                now: "not merged".to_owned(),
                sentence: "extension docker is not merged (before: merged)".to_owned(),
            }],
            ..HealthReport::default()
        };
        let page = page(&report);
        for line in [
            "Gate             rollback: what an update has certainly lost takes the node back",
            "Required         extension docker, a default route, unit-number-0.service, unit-number-1.service",
            "Compared         1970-01-01 00:01:00 UTC, version 2.0.0: something was lost, and the slot was left",
            "Missing          extension docker is not merged (before: merged)",
            "                  before  now",
            "extension docker  merged  not merged",
        ] {
            assert!(page.contains(line), "{line:?} is not in:\n{page}");
        }
        assert!(
            page.lines().all(|line| line.chars().count() <= WIDTH + 1),
            "{page}"
        );
        assert!(!page.contains("Worse") && !page.contains("Excused"));
    }

    #[test]
    fn a_node_without_a_record_says_so() {
        let page = page(&HealthReport {
            mode: "off".to_owned(),
            ..HealthReport::default()
        });
        assert!(
            page.contains("Recorded         nothing") && page.contains("Compared         no slot yet"),
            "{page}"
        );
    }
}
